// conv2d_reduce
//
//   y[n,co,oy,ox] = act( bias[co] + Σ_s sums[s,n,co,oy,ox] + residual[n,co,oy,ox] )
//
// Layout      sums: channel-packed vectors, SLICES of them one after the other, as conv2d_tiled leaves them
//             residual, y: channel-packed vectors   bias: [co], zero-padded
// Workgroup   THREADS outputs of four channels
// Thread      four output channels of one pixel per trip of a grid-stride loop
// Grid        grid-stride over OUT_GROUPS · OUT_PIXELS threads, x only
// Memory      none
// Barriers    none
// Edges       none
// Host        src/kernels/conv2d_reduce.rs     Reference  src/reference/conv2d.rs

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
override OUT_PIXELS: u32;
override SLICES: u32;
override RELU: bool;
// 0: none, 1: read from `residual`, 2: in place, read from `output`.
override RESIDUAL: u32;
override STRIDE_THREADS: u32;

const THREADS: u32 = 64u;

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
    let len = OUT_GROUPS * OUT_PIXELS;
    for (var output_ix = global.x; output_ix < len; output_ix += STRIDE_THREADS) {
        var sum = vec4<f32>();
        for (var slice = 0u; slice < SLICES; slice++) {
            sum += widened(input[slice * len + output_ix]);
        }
        output[output_ix] = narrowed(finished(sum, output_ix / OUT_PIXELS, output_ix));
    }
}
