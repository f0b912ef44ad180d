// winograd_output_texture
//
//   y[n,co, ty·OUT_TILE+i, tx·OUT_TILE+j] = act( Σ_{u,v} A[i,u] · A[j,v] · M[u,v] + residual )      Winograd F(OUT_TILE², 3²)
//
// Layout      M: folded texture, [component (u,v)][co group][tile (n,ty,tx)], one texel = four channels, biases included
//             residual, y: folded textures, one texel = four channels of one pixel; they may be the same one
// Workgroup   THREADS tiles of four channels
// Thread      four channels of one tile per trip of a grid-stride loop
// Grid        grid-stride over out_groups · tiles threads, x only
// Memory      none
// Barriers    none
// Edges       pixels of a tile outside the image are not stored
// Host        src/kernels/textures/winograd_output_texture.rs     Reference  src/reference/conv2d.rs

@group(0) @binding(0) var input: texture_storage_2d<rgba32float, read>;
@group(0) @binding(1) var residual: texture_storage_2d<rgba32float, read>;
@group(0) @binding(2) var output: texture_storage_2d<rgba32float, read_write>;

struct Geometry {
    out_groups: u32,
    out_h: u32,
    out_w: u32,
    out_pixels: u32,
    // Tiles along each side of one image, and in the whole batch.
    tiles_h: u32,
    tiles_w: u32,
    tiles: u32,
    relu: u32,
    stride_threads: u32,
}
var<immediate> immediates: Geometry;

// 0: none, 1: read from `residual`, 2: in place, read from `output`.
override RESIDUAL: u32;

const OUT_TILE: u32 = 4u;

const THREADS: u32 = 64u;
const SIDE: u32 = OUT_TILE + 2u;

alias Line = array<vec4<f32>, 6>;

// A texture is FOLD_WIDTH texels wide; the first row of an activation is zero.
const FOLD_SHIFT: u32 = 10u;
const FOLD_WIDTH: u32 = 1u << FOLD_SHIFT;

fn folded(ix: u32) -> vec2<u32> {
    return vec2<u32>(ix & (FOLD_WIDTH - 1u), ix >> FOLD_SHIFT);
}

// Four channels of a pixel as the texture keeps them.
fn narrowed(value: vec4<f32>) -> vec4<f32> {
    return value;
}

// Σ_u A[i,u] · m[u] for all i. Lavin & Gray 2015, arXiv:1509.09308: points 0, ±1, ∞ and 0, ±1, ±2, ∞.
fn transformed(m: Line) -> array<vec4<f32>, 4> {
    if (OUT_TILE == 2u) {
        return array<vec4<f32>, 4>(m[0] + m[1] + m[2], m[1] - m[2] - m[3], vec4<f32>(), vec4<f32>());
    }
    let even_1 = m[1] + m[2];
    let odd_1 = m[1] - m[2];
    let even_2 = m[3] + m[4];
    let odd_2 = m[3] - m[4];
    return array<vec4<f32>, 4>(
        m[0] + even_1 + even_2,
        odd_1 + 2.0 * odd_2,
        even_1 + 4.0 * even_2,
        odd_1 + 8.0 * odd_2 + m[5],
    );
}

@compute @workgroup_size(THREADS)
fn main(@builtin(global_invocation_id) global: vec3<u32>) {
    // Read once: inside a loop or a branch, llvmpipe turns every read of an immediate into a gather.
    let geometry = immediates;
    let len = geometry.out_groups * geometry.tiles;
    for (var item = global.x; item < len; item += geometry.stride_threads) {
        let co_group = item / geometry.tiles;
        let tile = item - co_group * geometry.tiles;
        let row = tile / geometry.tiles_w;
        let n = row / geometry.tiles_h;
        let first_y = (row - n * geometry.tiles_h) * OUT_TILE;
        let first_x = (tile - row * geometry.tiles_w) * OUT_TILE;
        let image = FOLD_WIDTH + co_group * geometry.out_pixels + n * geometry.out_h * geometry.out_w;

        // 1. Columns: half[v][i] = Σ_u A[i,u] · M[u,v]
        var half: array<array<vec4<f32>, 4>, SIDE>;
        for (var v = 0u; v < SIDE; v++) {
            var m: Line;
            for (var u = 0u; u < SIDE; u++) {
                m[u] = textureLoad(input, folded(FOLD_WIDTH + (u * SIDE + v) * len + item));
            }
            half[v] = transformed(m);
        }

        // 2. Rows, and store
        for (var i = 0u; i < OUT_TILE; i++) {
            var row: Line;
            for (var v = 0u; v < SIDE; v++) {
                row[v] = half[v][i];
            }
            var pixels = transformed(row);
            for (var j = 0u; j < OUT_TILE; j++) {
                var y = pixels[j];
                let oy = first_y + i;
                let ox = first_x + j;
                if (oy < geometry.out_h && ox < geometry.out_w) {
                    let texel = folded(image + oy * geometry.out_w + ox);
                    if (RESIDUAL == 1u) {
                        y += textureLoad(residual, texel);
                    } else if (RESIDUAL == 2u) {
                        y += textureLoad(output, texel);
                    }
                    textureStore(output, texel, narrowed(select(y, vec4<f32>(), (y < vec4<f32>()) & vec4<bool>(geometry.relu != 0u))));
                }
            }
        }
    }
}
