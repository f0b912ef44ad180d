// winograd_input
//
//   V[u,v] = Σ_{i,j} B[u,i] · B[v,j] · x[n,ci, ty·OUT_TILE+i-PAD_TOP, tx·OUT_TILE+j-PAD_LEFT]      Winograd F(OUT_TILE², 3²)
//
// Layout      x: channel-packed vectors
//             V: [component (u,v)][ci group][tile (n,ty,tx)], one vector = four channels
// Workgroup   THREADS tiles of four channels
// Thread      half of the components, first or last u, of four channels of one tile per trip of a grid-stride loop: all of them
//             would need too many registers for eight waves on RDNA
// Grid        twice a grid-stride over IN_GROUPS · TILES threads, x only; the two halves of a tile are neighbours
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
// Tiles along each side of one image, and in the whole batch.
override TILES_H: u32;
override TILES_W: u32;
override TILES: u32;
override PAD_TOP: u32;
override PAD_LEFT: u32;
override STRIDE_THREADS: u32;

const OUT_TILE: u32 = 4u;

const THREADS: u32 = 64u;
const SIDE: u32 = OUT_TILE + 2u;

const HALF_SIDE: u32 = SIDE / 2u;

alias Line = array<vec4<f32>, 6>;
alias HalfLine = array<vec4<f32>, 3>;

// Σ_i B[u,i] · x[i] for the first or the last half of all u. Lavin & Gray 2015, arXiv:1509.09308: points 0, ±1, ∞ and 0, ±1, ±2, ∞.
fn transformed(x: Line, last: bool) -> HalfLine {
    if (OUT_TILE == 2u) {
        if (last) {
            return HalfLine(x[2] - x[1], x[1] - x[3], vec4<f32>());
        }
        return HalfLine(x[0] - x[2], x[1] + x[2], vec4<f32>());
    }
    if (last) {
        let even = x[4] - x[2];
        let odd = 2.0 * (x[3] - x[1]);
        return HalfLine(even + odd, even - odd, 4.0 * x[1] - 5.0 * x[3] + x[5]);
    }
    let even = x[4] - 4.0 * x[2];
    let odd = x[3] - 4.0 * x[1];
    return HalfLine(4.0 * x[0] - 5.0 * x[2] + x[4], even + odd, even - odd);
}

fn input_at(image: u32, iy: u32, ix: u32) -> vec4<f32> {
    if (iy >= IN_H || ix >= IN_W) {
        return vec4<f32>();
    }
    return widened(input[image + iy * IN_W + ix]);
}

@compute @workgroup_size(THREADS)
fn main(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(local_invocation_id) local: vec3<u32>,
) {
    let len = IN_GROUPS * TILES;
    let last = workgroup.x % 2u == 1u;
    let first_component = select(0u, HALF_SIDE * SIDE, last);
    for (var item = workgroup.x / 2u * THREADS + local.x; item < len; item += STRIDE_THREADS) {
        let ci_group = item / TILES;
        let tile = item % TILES;
        let n = tile / TILES_W / TILES_H;
        // As unsigned numbers, negative coordinates are large.
        let first_y = tile / TILES_W % TILES_H * OUT_TILE - PAD_TOP;
        let first_x = tile % TILES_W * OUT_TILE - PAD_LEFT;
        let image = ci_group * IN_PIXELS + n * IN_H * IN_W;

        // 1. Columns: half[j][u] = Σ_i B[u,i] · x[i,j]
        var half: array<HalfLine, SIDE>;
        for (var j = 0u; j < SIDE; j++) {
            var x: Line;
            for (var i = 0u; i < SIDE; i++) {
                x[i] = input_at(image, first_y + i, first_x + j);
            }
            half[j] = transformed(x, last);
        }

        // 2. Rows, and store
        for (var u = 0u; u < HALF_SIDE; u++) {
            var row: Line;
            for (var j = 0u; j < SIDE; j++) {
                row[j] = half[j][u];
            }
            var first_half = transformed(row, false);
            var last_half = transformed(row, true);
            for (var v = 0u; v < HALF_SIDE; v++) {
                let component = first_component + u * SIDE + v;
                output[component * len + item] = narrowed(first_half[v]);
                output[(component + HALF_SIDE) * len + item] = narrowed(last_half[v]);
            }
        }
    }
}
