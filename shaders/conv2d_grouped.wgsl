// conv2d_grouped
//
//   y[n,co,oy,ox] = act( bias[co] + Σ_{ky,kx,i} w[co,i,ky,kx] · x[n, g·GROUP_IN+i, oy·STRIDE_H+ky·DILATION_H-PAD_TOP, ox·STRIDE_W+kx·DILATION_W-PAD_LEFT]
//                        + residual[n,co,oy,ox] ),   g = co / GROUP_OUT
//
// Layout      x, residual, y: channel-packed vectors   w: [co group][(ky,kx)][i] vec4 over four co   bias: [co], zero-padded
// Workgroup   THREADS outputs of four channels
// Thread      four output channels of one pixel
// Grid        grid-stride over OUT_GROUPS · OUT_PIXELS threads, x only
// Memory      none
// Barriers    none
// Edges       padding loads as 0; lanes past OUT_C have zero weights and bias
// Host        src/kernels/conv2d_grouped.rs     Reference  src/reference/conv2d.rs

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

// GROUP_IN and GROUP_OUT are channels per group; IN_PIXELS and OUT_PIXELS count the whole batch.
override IN_C: u32;
override IN_H: u32;
override IN_W: u32;
override IN_PIXELS: u32;
override OUT_GROUPS: u32;
override OUT_H: u32;
override OUT_W: u32;
override OUT_PIXELS: u32;
override GROUP_IN: u32;
override GROUP_OUT: u32;
override KERNEL_H: u32;
override KERNEL_W: u32;
override STRIDE_H: u32;
override STRIDE_W: u32;
override PAD_TOP: u32;
override PAD_LEFT: u32;
override RELU: bool;
// 0: none, 1: read from `residual`, 2: in place, read from `output`.
override RESIDUAL: u32;
override STRIDE_THREADS: u32;

// Pixels from one tap to the next.
const DILATION_H: u32 = 1u;
const DILATION_W: u32 = 1u;

const THREADS: u32 = 64u;

/// One channel of one pixel; a channel past the end belongs to a lane whose weights are zero.
fn channel_at(ci: u32, pixel: u32) -> f32 {
    let c = min(ci, IN_C - 1u);
    return widened(input[(c / 4u) * IN_PIXELS + pixel])[c % 4u];
}

fn convolve(co_group: u32, px: u32) -> vec4<f32> {
    let ox = px % OUT_W;
    let row = px / OUT_W;
    let oy = row % OUT_H;
    let n = row / OUT_H;
    // First input channel of each of the four output channels.
    let first = (vec4(4u * co_group) + vec4(0u, 1u, 2u, 3u)) / GROUP_OUT * GROUP_IN;
    let aligned = GROUP_OUT % 4u == 0u && GROUP_IN % 4u == 0u;
    var sum = vec4<f32>();
    for (var ky = 0u; ky < KERNEL_H; ky++) {
        let iy = i32(oy * STRIDE_H + ky * DILATION_H) - i32(PAD_TOP);
        if (iy < 0 || iy >= i32(IN_H)) {
            continue;
        }
        for (var kx = 0u; kx < KERNEL_W; kx++) {
            let ix = i32(ox * STRIDE_W + kx * DILATION_W) - i32(PAD_LEFT);
            if (ix < 0 || ix >= i32(IN_W)) {
                continue;
            }
            let pixel = (n * IN_H + u32(iy)) * IN_W + u32(ix);
            let weight_ix = ((co_group * KERNEL_H + ky) * KERNEL_W + kx) * GROUP_IN;
            if (aligned) {
                for (var i = 0u; i < GROUP_IN; i += 4u) {
                    let x = widened(input[((first.x + i) / 4u) * IN_PIXELS + pixel]);
                    sum += widened(weight[weight_ix + i]) * x.x;
                    sum += widened(weight[weight_ix + i + 1u]) * x.y;
                    sum += widened(weight[weight_ix + i + 2u]) * x.z;
                    sum += widened(weight[weight_ix + i + 3u]) * x.w;
                }
            } else {
                for (var i = 0u; i < GROUP_IN; i++) {
                    let x = vec4<f32>(
                        channel_at(first.x + i, pixel),
                        channel_at(first.y + i, pixel),
                        channel_at(first.z + i, pixel),
                        channel_at(first.w + i, pixel),
                    );
                    sum += widened(weight[weight_ix + i]) * x;
                }
            }
        }
    }
    return sum;
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
    for (var output_ix = global.x; output_ix < OUT_GROUPS * OUT_PIXELS; output_ix += STRIDE_THREADS) {
        let co_group = output_ix / OUT_PIXELS;
        let sum = convolve(co_group, output_ix % OUT_PIXELS);
        output[output_ix] = narrowed(finished(sum, co_group, output_ix));
    }
}
