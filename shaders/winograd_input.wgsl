// winograd_input
//
//   V[u,v] = Σ_{i,j} B[u,i] · B[v,j] · x[n,ci, ty·OUT_TILE+i-PAD_TOP, tx·OUT_TILE+j-PAD_LEFT]      Winograd F(OUT_TILE², 3²)
//
// Layout      x: channel-packed vectors
//             V: [component (u,v)][ci group][tile (n,ty,tx)], one vector = four channels
// Workgroup   THREADS tiles of four channels
// Thread      four channels of one tile per trip of a grid-stride loop
// Grid        grid-stride over IN_GROUPS · TILES threads, x only
// Memory      none
// Barriers    none
// Edges       pixels outside the image load as 0
// Host        src/kernels/winograd_input.rs     Reference  src/reference/conv2d.rs

// Four channels of a pixel as they lie in memory.
alias Stored = vec4<f32>;

fn widened(stored: Stored) -> vec4<f32> {
    return stored;
}

fn narrowed(value: vec4<f32>) -> Stored {
    return value;
}

@group(0) @binding(0) var<storage, read> input: array<Stored>;
@group(0) @binding(1) var<storage, read_write> output: array<Stored>;

// Channel groups of four; IN_PIXELS counts the whole batch.
override IN_GROUPS: u32;
override IN_H: u32;
override IN_W: u32;
override IN_PIXELS: u32;
// Tiles of one image along its sides, and of the whole batch.
override TILES_H: u32;
override TILES_W: u32;
override TILES: u32;
override PAD_TOP: u32;
override PAD_LEFT: u32;
override STRIDE_THREADS: u32;

const OUT_TILE: u32 = 4u;

const THREADS: u32 = 64u;
const SIDE: u32 = OUT_TILE + 2u;

alias Line = array<vec4<f32>, 6>;

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

fn input_at(image: u32, iy: u32, ix: u32) -> vec4<f32> {
    if (iy >= IN_H || ix >= IN_W) {
        return vec4<f32>();
    }
    return widened(input[image + iy * IN_W + ix]);
}

@compute @workgroup_size(THREADS)
fn main(@builtin(global_invocation_id) global: vec3<u32>) {
    let len = IN_GROUPS * TILES;
    for (var item = global.x; item < len; item += STRIDE_THREADS) {
        let ci_group = item / TILES;
        let tile = item % TILES;
        let n = tile / TILES_W / TILES_H;
        // Below zero, these are large as unsigned numbers.
        let first_y = tile / TILES_W % TILES_H * OUT_TILE - PAD_TOP;
        let first_x = tile % TILES_W * OUT_TILE - PAD_LEFT;
        let image = ci_group * IN_PIXELS + n * IN_H * IN_W;

        // 1. Columns: half[j][u] = Σ_i B[u,i] · x[i,j]
        var half: array<Line, SIDE>;
        for (var j = 0u; j < SIDE; j++) {
            var x: Line;
            for (var i = 0u; i < SIDE; i++) {
                x[i] = input_at(image, first_y + i, first_x + j);
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
                output[(u * SIDE + v) * len + item] = narrowed(components[v]);
            }
        }
    }
}
