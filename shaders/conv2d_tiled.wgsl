// conv2d_tiled
//
//   y[n,co,oy,ox] = act( bias[co] + Σ_{ky,kx,ci} w[co,ci,ky,kx] · x[n,ci, oy·STRIDE_H+ky·DILATION_H-PAD_TOP, ox·STRIDE_W+kx·DILATION_W-PAD_LEFT]
//                        + residual[n,co,oy,ox] )
//
//   With RESIDUAL 3 the residual is Σ_ci v[co,ci] · residual[n,ci, oy·PROJECTED_STRIDE_H, ox·PROJECTED_STRIDE_W]: the 1×1 convolution of
//   another value, whose weights v follow w in each block, and whose bias is part of this one.
//
// Layout      x, residual, y: channel-packed vectors   w: [co block][(ky,kx,ci)][TILE_CO], zero-padded   bias: [co], zero-padded
// Workgroup   TILE_CO output channels × TILE_PX output pixels of the whole batch
// Thread      PER_THREAD_CO × PER_THREAD_PX outputs, in registers; pixels THREADS_PX apart
// Grid        [ceil(N·OUT_H·OUT_W / TILE_PX), ceil(OUT_C / TILE_CO), problems · SLICES]; problems lie one after the other in x, w
//             and y. A slice is a part of the reduction; without FINISH each leaves its bare sums, one after the other in y
// Memory      input_tile TILE_K·TILE_PX·4 B + weight_tile TILE_K·TILE_CO·4 B of workgroup memory
// K           implicit GEMM: taps outside, channel groups inside, no im2col in memory; a 1×1 kernel has one tap
// Barriers    two per K step; no invocation returns before the last one
// Edges       padding, pixels past the end and channels past IN_C load as 0; stores past the end are skipped
// Host        src/kernels/conv2d_tiled.rs     Reference  src/reference/conv2d.rs

// Four channels of a pixel as they lie in memory.
alias Stored = vec4<f32>;

fn widened(stored: Stored) -> vec4<f32> {
    return stored;
}

fn narrowed(value: vec4<f32>) -> Stored {
    return value;
}

@group(0) @binding(0) var<storage, read> input: array<Stored>;
@group(0) @binding(1) var<storage, read> weight: array<Stored>;
@group(0) @binding(2) var<storage, read> bias: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read> residual: array<Stored>;
@group(0) @binding(4) var<storage, read_write> output: array<Stored>;

// Channel groups of four; pixels are those of the whole batch.
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
override SLICES: u32;
override FINISH: bool;
override RELU: bool;
// 0: none, 1: read from `residual`, 2: in place, read from `output`, 3: `residual` is the input of a projection.
override RESIDUAL: u32;
override PROJECTED_GROUPS: u32;
override PROJECTED_PIXELS: u32;
override PROJECTED_H: u32;
override PROJECTED_W: u32;
override PROJECTED_STRIDE_H: u32;
override PROJECTED_STRIDE_W: u32;

// Pixels from one tap to the next.
const DILATION_H: u32 = 1u;
const DILATION_W: u32 = 1u;

const TILE_PX: u32 = 64u;
const TILE_CO: u32 = 64u;
const TILE_K: u32 = 16u;
const PER_THREAD_PX: u32 = 8u;
const PER_THREAD_CO: u32 = 8u;

const THREADS_PX: u32 = TILE_PX / PER_THREAD_PX;
const THREADS_CO: u32 = TILE_CO / PER_THREAD_CO;
const THREADS: u32 = THREADS_PX * THREADS_CO;
const TILE_K_GROUPS: u32 = TILE_K / 4u;
const TILE_CO_GROUPS: u32 = TILE_CO / 4u;
const PER_THREAD_CO_GROUPS: u32 = PER_THREAD_CO / 4u;

// Each thread loads one pixel of every INPUT_ROWS-th channel group, and so divides only once to find it.
const INPUT_ROWS: u32 = THREADS / TILE_PX;
const_assert INPUT_ROWS * TILE_PX == THREADS;
const_assert TILE_K_GROUPS % INPUT_ROWS == 0u;
const WEIGHT_LOADS: u32 = TILE_K * TILE_CO_GROUPS / THREADS;
const_assert WEIGHT_LOADS * THREADS == TILE_K * TILE_CO_GROUPS;

// [channel group][pixel] and [channel][output channel group].
var<workgroup> input_tile: array<vec4<f32>, TILE_K_GROUPS * TILE_PX>;
var<workgroup> weight_tile: array<vec4<f32>, TILE_K * TILE_CO_GROUPS>;

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

// The index of the pixel that a projection reads for an output pixel.
fn projected_pixel(px: u32) -> u32 {
    let ox = px % OUT_W;
    let row = px / OUT_W;
    let oy = row % OUT_H;
    let n = row / OUT_H;
    return (n * PROJECTED_H + oy * PROJECTED_STRIDE_H) * PROJECTED_W + ox * PROJECTED_STRIDE_W;
}

fn input_at(problem: u32, k_group: u32, window: Window, projected: u32) -> vec4<f32> {
    if (RESIDUAL == 3u && k_group >= IN_GROUPS) {
        let ci_group = k_group - IN_GROUPS;
        if (window.iy < 0 || ci_group >= PROJECTED_GROUPS) {
            return vec4<f32>();
        }
        return widened(residual[ci_group * PROJECTED_PIXELS + projected]);
    }
    let tap = k_group / IN_GROUPS;
    let ci_group = problem * IN_GROUPS + k_group % IN_GROUPS;
    let ky = i32(tap / KERNEL_W * DILATION_H);
    let kx = i32(tap % KERNEL_W * DILATION_W);
    // As an unsigned number, a negative row or column is large.
    let inside = u32(window.iy + ky) < IN_H && u32(window.ix + kx) < IN_W;
    if (!inside || tap >= KERNEL_H * KERNEL_W) {
        return vec4<f32>();
    }
    return widened(input[i32(ci_group * IN_PIXELS) + window.pixel + ky * i32(IN_W) + kx]);
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

@compute @workgroup_size(THREADS_PX, THREADS_CO)
fn main(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) workgroups: vec3<u32>,
    @builtin(local_invocation_id) local: vec3<u32>,
    @builtin(local_invocation_index) thread: u32,
) {
    let tile_px = workgroup.x * TILE_PX;
    let problem = workgroup.z / SLICES;
    let k_groups = KERNEL_H * KERNEL_W * IN_GROUPS + PROJECTED_GROUPS;
    let k_steps = (k_groups + TILE_K_GROUPS - 1u) / TILE_K_GROUPS;
    let slice_steps = (k_steps + SLICES - 1u) / SLICES;
    let first_step = workgroup.z % SLICES * slice_steps;
    let end_step = min(first_step + slice_steps, k_steps);
    let weight_block = (problem * workgroups.y + workgroup.y) * k_steps * TILE_K * TILE_CO_GROUPS;

    let load_px = thread % TILE_PX;
    let load_k = thread / TILE_PX;
    let window = window_of(tile_px + load_px);
    let projected = projected_pixel(tile_px + load_px);

    var sums: array<array<vec4<f32>, PER_THREAD_PX>, PER_THREAD_CO_GROUPS>;
    // Outside the loop, which would set it to zero each time: naga writes such zeros once for this type and once for that
    // of `x`, which are one type to HLSL where they have equal lengths.
    var weights: array<Stored, WEIGHT_LOADS>;
    for (var step = first_step; step < end_step; step++) {
        // 1. Load tiles: the weights, which need no bounds check, are fetched while the inputs are located
        let weight_ix = weight_block + step * TILE_K * TILE_CO_GROUPS + thread;
        for (var i = 0u; i < WEIGHT_LOADS; i++) {
            weights[i] = weight[weight_ix + i * THREADS];
        }
        for (var k = 0u; k < TILE_K_GROUPS; k += INPUT_ROWS) {
            let k_group = step * TILE_K_GROUPS + k + load_k;
            input_tile[k * TILE_PX + thread] = input_at(problem, k_group, window, projected);
        }
        for (var i = 0u; i < WEIGHT_LOADS; i++) {
            weight_tile[i * THREADS + thread] = widened(weights[i]);
        }
        workgroupBarrier();

        // 2. Multiply
        for (var k = 0u; k < TILE_K_GROUPS; k++) {
            var x: array<vec4<f32>, PER_THREAD_PX>;
            for (var p = 0u; p < PER_THREAD_PX; p++) {
                x[p] = input_tile[k * TILE_PX + local.x + p * THREADS_PX];
            }
            for (var c = 0u; c < PER_THREAD_CO_GROUPS; c++) {
                let w_ix = k * 4u * TILE_CO_GROUPS + local.y + c * THREADS_CO;
                let w0 = weight_tile[w_ix];
                let w1 = weight_tile[w_ix + TILE_CO_GROUPS];
                let w2 = weight_tile[w_ix + 2u * TILE_CO_GROUPS];
                let w3 = weight_tile[w_ix + 3u * TILE_CO_GROUPS];
                for (var p = 0u; p < PER_THREAD_PX; p++) {
                    sums[c][p] += w0 * x[p].x;
                    sums[c][p] += w1 * x[p].y;
                    sums[c][p] += w2 * x[p].z;
                    sums[c][p] += w3 * x[p].w;
                }
            }
        }
        workgroupBarrier();
    }

    // 3. Store
    for (var c = 0u; c < PER_THREAD_CO_GROUPS; c++) {
        let co_group = workgroup.y * TILE_CO_GROUPS + local.y + c * THREADS_CO;
        for (var p = 0u; p < PER_THREAD_PX; p++) {
            let px = tile_px + local.x + p * THREADS_PX;
            if (co_group < OUT_GROUPS && px < OUT_PIXELS) {
                let output_ix = co_group * OUT_PIXELS + px;
                if (FINISH) {
                    output[output_ix] = narrowed(finished(sums[c][p], co_group, output_ix));
                } else {
                    output[workgroup.z * OUT_GROUPS * OUT_PIXELS + output_ix] = narrowed(sums[c][p]);
                }
            }
        }
    }
}
