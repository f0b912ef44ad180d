// conv2d_cooperative
//
//   y[n,co,oy,ox] = act( bias[co] + Σ_{ky,kx,ci} w[co,ci,ky,kx] · x[n,ci, oy·STRIDE_H+ky·DILATION_H-PAD_TOP, ox·STRIDE_W+kx·DILATION_W-PAD_LEFT]
//                        + residual[n,co,oy,ox] )
//
// Layout      x, residual, y: channel-packed vec4<f16>   w: [co block][(ky,kx,ci)][TILE_CO], zero-padded   bias: [co], zero-padded
// Workgroup   TILE_CO output channels × TILE_PX output pixels of the whole batch
// Thread      a subgroup of 32, 64 or 128 threads multiplies matrices of 16×16 together, 2 × 2 of them at a time: a quadrant. Where
//             there are fewer subgroups than quadrants, each takes several, one after the other
// Grid        [ceil(N·OUT_H·OUT_W / TILE_PX), ceil(OUT_C / TILE_CO), 1]
// Memory      input_tile TILE_PX·ROW·2 B + sums QUADRANTS·1 KiB of workgroup memory; weights come from memory as they are multiplied
// K           implicit GEMM as in conv2d_tiled; halves are multiplied, sums are in single precision
// Barriers    two per K step and two per matrix of sums; no invocation returns before the last one
// Edges       padding, pixels past the end and channels past IN_C load as 0; stores past the end are skipped
// Host        src/kernels/conv2d_cooperative.rs     Reference  src/reference/conv2d.rs

enable f16;
enable wgpu_cooperative_matrix;

// Four channels of a pixel as they lie in memory.
alias Stored = vec4<f16>;

fn widened(stored: Stored) -> vec4<f32> {
    return vec4<f32>(stored);
}

fn narrowed(value: vec4<f32>) -> Stored {
    return Stored(clamp(value, vec4<f32>(-65504.0), vec4<f32>(65504.0)));
}

@group(0) @binding(0) var<storage, read> input: array<Stored>;
@group(0) @binding(1) var<storage, read> weight: array<f16>;
@group(0) @binding(2) var<storage, read> bias: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read> residual: array<Stored>;
@group(0) @binding(4) var<storage, read_write> output: array<Stored>;

// Channel groups of four; IN_PIXELS and OUT_PIXELS count the whole batch.
override IN_GROUPS: u32;
override IN_H: u32;
override IN_W: u32;
override IN_PIXELS: u32;
override OUT_GROUPS: u32;
override OUT_H: u32;
override OUT_W: u32;
override OUT_PIXELS: u32;
override KERNEL_H: u32;
override KERNEL_W: u32;
override STRIDE_H: u32;
override STRIDE_W: u32;
override PAD_TOP: u32;
override PAD_LEFT: u32;
override RELU: bool;
// 0: none, 1: read from `residual`, 2: in place, read from `output`.
override RESIDUAL: u32;

alias Left = coop_mat16x16<f16, A>;
alias Right = coop_mat16x16<f16, B>;
alias Sums = coop_mat16x16<f32, C>;

// Pixels from one tap to the next.
const DILATION_H: u32 = 1u;
const DILATION_W: u32 = 1u;

const THREADS: u32 = 128u;
const TILE_PX: u32 = 64u;
const TILE_CO: u32 = 64u;
const TILE_K: u32 = 32u;
const SIDE: u32 = 16u;

const TILE_K_GROUPS: u32 = TILE_K / 4u;
const TILE_CO_GROUPS: u32 = TILE_CO / 4u;
const QUADRANT: u32 = 2u * SIDE;
const QUADRANTS_CO: u32 = TILE_CO / QUADRANT;
const QUADRANTS: u32 = TILE_PX / QUADRANT * QUADRANTS_CO;
// Channels of a pixel in the tile, and a gap that spreads pixels over the memory banks.
const ROW: u32 = TILE_K + 8u;
const INPUT_ROWS: u32 = THREADS / TILE_PX;

// [pixel][channel] and [quadrant][pixel][output channel].
var<workgroup> input_tile: array<f16, TILE_PX * ROW>;
var<workgroup> sums_tile: array<f32, QUADRANTS * SIDE * SIDE>;

// Where the window of an output pixel starts: row, column, and the index of that pixel in a channel group.
struct Window {
    iy: i32,
    ix: i32,
    pixel: i32,
}

fn window_of(px: u32) -> Window {
    let ox = px % OUT_W;
    let row = px / OUT_W;
    let oy = row % OUT_H;
    let n = row / OUT_H;
    let iy = i32(oy * STRIDE_H) - i32(PAD_TOP);
    let ix = i32(ox * STRIDE_W) - i32(PAD_LEFT);
    let pixel = (i32(n * IN_H) + iy) * i32(IN_W) + ix;
    // A pixel past the end is above the top of every image, and far enough for any kernel.
    return Window(select(iy, -0x40000000, px >= OUT_PIXELS), ix, pixel);
}

fn input_at(k_group: u32, window: Window) -> Stored {
    let tap = k_group / IN_GROUPS;
    let ci_group = k_group % IN_GROUPS;
    let ky = i32(tap / KERNEL_W * DILATION_H);
    let kx = i32(tap % KERNEL_W * DILATION_W);
    // As an unsigned number, a negative row or column is large.
    let inside = u32(window.iy + ky) < IN_H && u32(window.ix + kx) < IN_W;
    if (!inside || tap >= KERNEL_H * KERNEL_W) {
        return Stored();
    }
    return input[i32(ci_group * IN_PIXELS) + window.pixel + ky * i32(IN_W) + kx];
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

// Stores one matrix of each quadrant in progress: the one at (row, column), in units of matrices.
fn store_sums(workgroup: vec3<u32>, thread: u32, first: u32, count: u32, matrix: vec2<u32>) {
    for (var i = thread; i < count * SIDE * SIDE / 4u; i += THREADS) {
        let quadrant = first + i / (SIDE * SIDE / 4u);
        let in_matrix = i % (SIDE * SIDE / 4u);
        let px_in_matrix = in_matrix % SIDE;
        let co_in_matrix = in_matrix / SIDE;
        let tile_px = quadrant / QUADRANTS_CO * QUADRANT + matrix.x * SIDE + px_in_matrix;
        let tile_co = quadrant % QUADRANTS_CO * QUADRANT / 4u + matrix.y * SIDE / 4u + co_in_matrix;
        let px = workgroup.x * TILE_PX + tile_px;
        let co_group = workgroup.y * TILE_CO_GROUPS + tile_co;
        if (co_group < OUT_GROUPS && px < OUT_PIXELS) {
            let sum_ix = (quadrant * SIDE + px_in_matrix) * SIDE + co_in_matrix * 4u;
            let sum = vec4<f32>(
                sums_tile[sum_ix],
                sums_tile[sum_ix + 1u],
                sums_tile[sum_ix + 2u],
                sums_tile[sum_ix + 3u],
            );
            let output_ix = co_group * OUT_PIXELS + px;
            output[output_ix] = narrowed(finished(sum, co_group, output_ix));
        }
    }
}

@compute @workgroup_size(THREADS)
fn main(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(local_invocation_index) thread: u32,
    @builtin(subgroup_id) subgroup: u32,
    @builtin(num_subgroups) subgroups: u32,
) {
    let k_steps = (KERNEL_H * KERNEL_W * IN_GROUPS + TILE_K_GROUPS - 1u) / TILE_K_GROUPS;
    let weight_block = workgroup.y * k_steps * TILE_K * TILE_CO;
    let load_px = thread % TILE_PX;
    let load_k = thread / TILE_PX;
    let window = window_of(workgroup.x * TILE_PX + load_px);

    for (var first = 0u; first < QUADRANTS; first += subgroups) {
        let quadrant = first + subgroup;
        let quadrant_px = quadrant / QUADRANTS_CO * QUADRANT;
        let quadrant_co = quadrant % QUADRANTS_CO * QUADRANT;
        var sums_00 = Sums();
        var sums_01 = Sums();
        var sums_10 = Sums();
        var sums_11 = Sums();
        for (var step = 0u; step < k_steps; step++) {
            // 1. Load the tile of the input
            for (var k = load_k; k < TILE_K_GROUPS; k += INPUT_ROWS) {
                let x = input_at(step * TILE_K_GROUPS + k, window);
                let tile_ix = load_px * ROW + k * 4u;
                input_tile[tile_ix] = x.x;
                input_tile[tile_ix + 1u] = x.y;
                input_tile[tile_ix + 2u] = x.z;
                input_tile[tile_ix + 3u] = x.w;
            }
            workgroupBarrier();

            // 2. Multiply
            for (var k = 0u; k < TILE_K; k += SIDE) {
                let input_ix = quadrant_px * ROW + k;
                let weight_ix = weight_block + (step * TILE_K + k) * TILE_CO + quadrant_co;
                let x_0 = coopLoadT<Left>(&input_tile[input_ix], ROW);
                let x_1 = coopLoadT<Left>(&input_tile[input_ix + SIDE * ROW], ROW);
                let w_0 = coopLoadT<Right>(&weight[weight_ix], TILE_CO);
                let w_1 = coopLoadT<Right>(&weight[weight_ix + SIDE], TILE_CO);
                sums_00 = coopMultiplyAdd(x_0, w_0, sums_00);
                sums_01 = coopMultiplyAdd(x_0, w_1, sums_01);
                sums_10 = coopMultiplyAdd(x_1, w_0, sums_10);
                sums_11 = coopMultiplyAdd(x_1, w_1, sums_11);
            }
            workgroupBarrier();
        }

        // 3. Store, one matrix of every quadrant at a time
        let sums_ix = quadrant * SIDE * SIDE;
        coopStoreT(sums_00, &sums_tile[sums_ix], SIDE);
        workgroupBarrier();
        store_sums(workgroup, thread, first, subgroups, vec2<u32>(0u, 0u));
        workgroupBarrier();
        coopStoreT(sums_01, &sums_tile[sums_ix], SIDE);
        workgroupBarrier();
        store_sums(workgroup, thread, first, subgroups, vec2<u32>(0u, 1u));
        workgroupBarrier();
        coopStoreT(sums_10, &sums_tile[sums_ix], SIDE);
        workgroupBarrier();
        store_sums(workgroup, thread, first, subgroups, vec2<u32>(1u, 0u));
        workgroupBarrier();
        coopStoreT(sums_11, &sums_tile[sums_ix], SIDE);
        workgroupBarrier();
        store_sums(workgroup, thread, first, subgroups, vec2<u32>(1u, 1u));
        workgroupBarrier();
    }
}
