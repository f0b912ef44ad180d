// winograd_output
//
//   y[n,co, ty·OUT_TILE+i, tx·OUT_TILE+j] = act( bias[co] + Σ_{u,v} A[i,u] · A[j,v] · M[u,v] + residual )
//                                                                                     Winograd F(OUT_TILE², 3²)
//
// Layout      M: [component (u,v)][co group][tile (n,ty,tx)], one vector = four channels
//             residual, y: channel-packed vectors   bias: [co], zero-padded
// Workgroup   THREADS tiles of four channels
// Thread      four channels of one tile per trip of a grid-stride loop
// Grid        grid-stride over OUT_GROUPS · TILES threads, x only
// Memory      none
// Barriers    none
// Edges       pixels of a tile outside the image are not stored
// Host        src/kernels/winograd_output.rs     Reference  src/reference/conv2d.rs

// Four channels of a pixel as they lie in memory.
alias Stored = vec4<f32>;

fn widened(stored: Stored) -> vec4<f32> {
    return stored;
}

fn narrowed(value: vec4<f32>) -> Stored {
    return value;
}

@group(0) @binding(0) var<storage, read> input: array<Stored>;
@group(0) @binding(1) var<storage, read> bias: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read> residual: array<Stored>;
@group(0) @binding(3) var<storage, read_write> output: array<Stored>;

// Channel groups of four; OUT_PIXELS counts the whole batch.
override OUT_GROUPS: u32;
override OUT_H: u32;
override OUT_W: u32;
override OUT_PIXELS: u32;
// Tiles along each side of one image, and in the whole batch.
override TILES_H: u32;
override TILES_W: u32;
override TILES: u32;
override RELU: bool;
// 0: none, 1: read from `residual`, 2: in place, read from `output`.
override RESIDUAL: u32;
override STRIDE_THREADS: u32;

const OUT_TILE: u32 = 4u;

const THREADS: u32 = 64u;
const SIDE: u32 = OUT_TILE + 2u;

alias Line = array<vec4<f32>, 6>;

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

// The end of every convolution.
fn finished(sum: vec4<f32>, co_group: u32, output_ix: u32) -> vec4<f32> {
    var y = sum + bias[co_group];
    if (RESIDUAL == 1u) {
        y += widened(residual[output_ix]);
    } else if (RESIDUAL == 2u) {
        y += widened(output[output_ix]);
    }
    return select(y, vec4<f32>(), (y < vec4<f32>()) & vec4<bool>(RELU));
}

@compute @workgroup_size(THREADS)
fn main(@builtin(global_invocation_id) global: vec3<u32>) {
    let len = OUT_GROUPS * TILES;
    for (var item = global.x; item < len; item += STRIDE_THREADS) {
        let co_group = item / TILES;
        let tile = item % TILES;
        let n = tile / TILES_W / TILES_H;
        let first_y = tile / TILES_W % TILES_H * OUT_TILE;
        let first_x = tile % TILES_W * OUT_TILE;
        let image = co_group * OUT_PIXELS + n * OUT_H * OUT_W;

        // 1. Columns: half[v][i] = Σ_u A[i,u] · M[u,v]
        var half: array<array<vec4<f32>, 4>, SIDE>;
        for (var v = 0u; v < SIDE; v++) {
            var m: Line;
            for (var u = 0u; u < SIDE; u++) {
                m[u] = widened(input[(u * SIDE + v) * len + item]);
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
                let oy = first_y + i;
                let ox = first_x + j;
                if (oy < OUT_H && ox < OUT_W) {
                    let output_ix = image + oy * OUT_W + ox;
                    output[output_ix] = narrowed(finished(pixels[j], co_group, output_ix));
                }
            }
        }
    }
}
