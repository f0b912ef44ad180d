// winograd_input_texture
//
//   V[u,v] = Σ_{i,j} B[u,i] · B[v,j] · x[n,ci, ty·OUT_TILE+i-pad_top, tx·OUT_TILE+j-pad_left]      Winograd F(OUT_TILE², 3²)
//
// Layout      x: folded texture, one texel = four channels of one pixel
//             V: folded texture, [component (u,v)][ci group][tile (n,ty,tx)], one texel = four channels
// Workgroup   THREADS tiles of four channels
// Thread      four channels of one tile per trip of a grid-stride loop
// Grid        grid-stride over in_groups · tiles threads, x only
// Memory      none
// Barriers    none
// Edges       pixels outside the image read texel 0, which is zero
// Host        src/kernels/textures/winograd_input_texture.rs     Reference  src/reference/conv2d.rs

@group(0) @binding(0) var input: texture_storage_2d<rgba32float, read>;
@group(0) @binding(1) var output: texture_storage_2d<rgba32float, write>;

struct Geometry {
    in_groups: u32,
    in_h: u32,
    in_w: u32,
    in_pixels: u32,
    // Tiles along each side of one image, and in the whole batch.
    tiles_h: u32,
    tiles_w: u32,
    tiles: u32,
    pad_top: u32,
    pad_left: u32,
    stride_threads: u32,
}
var<immediate> immediates: Geometry;

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

// Σ_i B[u,i] · x[i] for all u. Lavin & Gray 2015, arXiv:1509.09308: points 0, ±1, ∞ and 0, ±1, ±2, ∞.
fn transformed(x: Line) -> Line {
    if (OUT_TILE == 2u) {
        return Line(x[0] - x[2], x[1] + x[2], x[2] - x[1], x[1] - x[3], vec4<f32>(), vec4<f32>());
    }
    let even_1 = x[4] - 4.0 * x[2];
    let odd_1 = x[3] - 4.0 * x[1];
    let even_2 = x[4] - x[2];
    let odd_2 = 2.0 * (x[3] - x[1]);
    return Line(
        4.0 * x[0] - 5.0 * x[2] + x[4],
        even_1 + odd_1,
        even_1 - odd_1,
        even_2 + odd_2,
        even_2 - odd_2,
        4.0 * x[1] - 5.0 * x[3] + x[5],
    );
}

@compute @workgroup_size(THREADS)
fn main(@builtin(global_invocation_id) global: vec3<u32>) {
    // Read once: inside a loop or a branch, llvmpipe turns every read of an immediate into a gather.
    let geometry = immediates;
    let len = geometry.in_groups * geometry.tiles;
    for (var item = global.x; item < len; item += geometry.stride_threads) {
        let ci_group = item / geometry.tiles;
        let tile = item - ci_group * geometry.tiles;
        let row = tile / geometry.tiles_w;
        let n = row / geometry.tiles_h;
        // As unsigned numbers, negative coordinates are large.
        let first_y = (row - n * geometry.tiles_h) * OUT_TILE - geometry.pad_top;
        let first_x = (tile - row * geometry.tiles_w) * OUT_TILE - geometry.pad_left;
        let image = FOLD_WIDTH + ci_group * geometry.in_pixels + n * geometry.in_h * geometry.in_w;

        // 1. Columns: half[j][u] = Σ_i B[u,i] · x[i,j]
        var half: array<Line, SIDE>;
        for (var j = 0u; j < SIDE; j++) {
            var x: Line;
            for (var i = 0u; i < SIDE; i++) {
                let iy = first_y + i;
                let ix = first_x + j;
                let inside = iy < geometry.in_h && ix < geometry.in_w;
                x[i] = textureLoad(input, folded(select(0u, image + iy * geometry.in_w + ix, inside)));
            }
            half[j] = transformed(x);
        }

        // 2. Rows, and store
        for (var u = 0u; u < SIDE; u++) {
            var row: Line;
            for (var j = 0u; j < SIDE; j++) {
                row[j] = half[j][u];
            }
            var components = transformed(row);
            for (var v = 0u; v < SIDE; v++) {
                let component = u * SIDE + v;
                textureStore(output, folded(FOLD_WIDTH + component * len + item), narrowed(components[v]));
            }
        }
    }
}
