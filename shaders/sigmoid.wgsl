// sigmoid
//
//   y[n,c] = 1 / (1 + exp(−x[n,c]))
//
// Layout      x, y: channel-packed vec4<f32>, one pixel per image
// Workgroup   THREADS vectors
// Thread      one vector per trip of a grid-stride loop
// Grid        grid-stride over LEN threads, x only
// Memory      none
// Barriers    none
// Edges       lanes past C store 0
// Host        src/kernels/sigmoid.rs     Reference  src/reference/sigmoid.rs

@group(0) @binding(0) var<storage, read> input: array<vec4<f32>>;
@group(0) @binding(1) var<storage, read_write> output: array<vec4<f32>>;

override CHANNELS: u32;
override BATCH: u32;
override LEN: u32;
override STRIDE_THREADS: u32;

const THREADS: u32 = 64u;

/// Which lanes of a channel group are channels.
fn inside(c_group: u32) -> vec4<bool> {
    return vec4(4u * c_group) + vec4(0u, 1u, 2u, 3u) < vec4(CHANNELS);
}

@compute @workgroup_size(THREADS)
fn main(@builtin(global_invocation_id) global: vec3<u32>) {
    for (var ix = global.x; ix < LEN; ix += STRIDE_THREADS) {
        let y = vec4<f32>(1.0) / (vec4<f32>(1.0) + exp(-input[ix]));
        output[ix] = select(vec4<f32>(), y, inside(ix / BATCH));
    }
}
