// channel_conv
//
//   y[n,c] = Σ_j w[j] · x[n, c + j − TAPS/2],   x = 0 beyond the channels
//
// Layout      x, y: channel-packed vec4<f32> of images of one pixel   w: [j], four to a vector, zero-padded
// Workgroup   THREADS vectors
// Thread      four channels of one image per trip of a grid-stride loop
// Grid        grid-stride over LEN threads, x only
// Memory      none
// Barriers    none
// Edges       channels before the first and past the last one load as 0; the tail of y is stored as 0
// Host        src/kernels/channel_conv.rs     Reference  src/reference/channel_conv.rs

@group(0) @binding(0) var<storage, read> input: array<vec4<f32>>;
@group(0) @binding(1) var<storage, read> weight: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read_write> output: array<vec4<f32>>;

override CHANNELS: u32;
override BATCH: u32;
override LEN: u32;
override TAPS: u32;
override STRIDE_THREADS: u32;

const THREADS: u32 = 64u;

fn convolved(n: u32, c: u32) -> f32 {
    if (c >= CHANNELS) {
        return 0.0;
    }
    var sum = 0.0;
    for (var j = 0u; j < TAPS; j++) {
        // As an unsigned number, a negative channel is large.
        let ci = c + j - TAPS / 2u;
        if (ci < CHANNELS) {
            sum += weight[j / 4u][j % 4u] * input[ci / 4u * BATCH + n][ci % 4u];
        }
    }
    return sum;
}

@compute @workgroup_size(THREADS)
fn main(@builtin(global_invocation_id) global: vec3<u32>) {
    for (var ix = global.x; ix < LEN; ix += STRIDE_THREADS) {
        let n = ix % BATCH;
        let c = ix / BATCH * 4u;
        output[ix] = vec4<f32>(
            convolved(n, c),
            convolved(n, c + 1u),
            convolved(n, c + 2u),
            convolved(n, c + 3u),
        );
    }
}
