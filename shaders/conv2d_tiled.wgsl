// conv2d_tiled
//
//   y[n,co,oy,ox] = act( bias[co] + Σ_{ky,kx,ci} w[co,ci,ky,kx] · x[n,ci, oy·STRIDE_H+ky-PAD_TOP, ox·STRIDE_W+kx-PAD_LEFT]
//                        + residual[n,co,oy,ox] )
//
// Layout      x, residual, y: channel-packed vec4<f32>   w: [co block][(ky,kx,ci)][TILE_CO], zero-padded   bias: [co], zero-padded
// Workgroup   TILE_CO output channels × TILE_PX output pixels of the whole batch
// Thread      PER_THREAD_CO × PER_THREAD_PX outputs, in registers; pixels THREADS_PX apart
// Grid        [ceil(N·OUT_H·OUT_W / TILE_PX), ceil(OUT_C / TILE_CO), 1]
// Memory      input_tile TILE_K·TILE_PX·4 B + weight_tile TILE_K·TILE_CO·4 B of workgroup memory
// K           implicit GEMM: taps outside, channel groups inside, no im2col in memory
// Barriers    two per K step; no invocation returns before the last one
// Edges       padding, pixels past the end and channels past IN_C load as 0; stores past the end are skipped
// Host        src/kernels/conv2d_tiled.rs     Reference  src/reference/conv2d.rs

@group(0) @binding(0) var<storage, read> input: array<vec4<f32>>;
@group(0) @binding(1) var<storage, read> weight: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read> bias: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read> residual: array<vec4<f32>>;
@group(0) @binding(4) var<storage, read_write> output: array<vec4<f32>>;

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

// [channel group][pixel] and [channel][output channel group].
var<workgroup> input_tile: array<vec4<f32>, TILE_K_GROUPS * TILE_PX>;
var<workgroup> weight_tile: array<vec4<f32>, TILE_K * TILE_CO_GROUPS>;

fn input_at(k_group: u32, px: u32) -> vec4<f32> {
    let ci_group = k_group % IN_GROUPS;
    let tap = k_group / IN_GROUPS;
    let ox = px % OUT_W;
    let row = px / OUT_W;
    let oy = row % OUT_H;
    let n = row / OUT_H;
    let iy = i32(oy * STRIDE_H + tap / KERNEL_W) - i32(PAD_TOP);
    let ix = i32(ox * STRIDE_W + tap % KERNEL_W) - i32(PAD_LEFT);
    let inside = iy >= 0 && iy < i32(IN_H) && ix >= 0 && ix < i32(IN_W);
    if (!inside || tap >= KERNEL_H * KERNEL_W || px >= OUT_PIXELS) {
        return vec4<f32>();
    }
    return input[ci_group * IN_PIXELS + (n * IN_H + u32(iy)) * IN_W + u32(ix)];
}

@compute @workgroup_size(THREADS_PX, THREADS_CO)
fn main(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(local_invocation_id) local: vec3<u32>,
    @builtin(local_invocation_index) thread: u32,
) {
    let tile_px = workgroup.x * TILE_PX;
    let k_steps = (KERNEL_H * KERNEL_W * IN_GROUPS + TILE_K_GROUPS - 1u) / TILE_K_GROUPS;
    var weight_ix = workgroup.y * k_steps * TILE_K * TILE_CO_GROUPS;

    var sums: array<vec4<f32>, PER_THREAD_PX * PER_THREAD_CO_GROUPS>;
    for (var step = 0u; step < k_steps; step++) {
        // 1. Load tiles
        for (var i = thread; i < TILE_K_GROUPS * TILE_PX; i += THREADS) {
            input_tile[i] = input_at(step * TILE_K_GROUPS + i / TILE_PX, tile_px + i % TILE_PX);
        }
        for (var i = thread; i < TILE_K * TILE_CO_GROUPS; i += THREADS) {
            weight_tile[i] = weight[weight_ix + i];
        }
        weight_ix += TILE_K * TILE_CO_GROUPS;
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
                    let s = c * PER_THREAD_PX + p;
                    sums[s] += w0 * x[p].x;
                    sums[s] += w1 * x[p].y;
                    sums[s] += w2 * x[p].z;
                    sums[s] += w3 * x[p].w;
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
                var y = sums[c * PER_THREAD_PX + p] + bias[co_group];
                if (RESIDUAL == 1u) {
                    y += residual[output_ix];
                } else if (RESIDUAL == 2u) {
                    y += output[output_ix];
                }
                output[output_ix] = select(y, max(y, vec4<f32>()), RELU);
            }
        }
    }
}
