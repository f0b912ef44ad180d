// relu_gradient
//
//   y[n,c,h,w] = x[n,c,h,w] where activation[n,c,h,w] > 0, else 0
//
// Layout      x, activation, y: channel-packed vec4<f32>
// Workgroup   THREADS vectors
// Thread      one vector per trip of a grid-stride loop
// Grid        grid-stride over LEN threads, x only
// Memory      none
// Barriers    none
// Edges       channel tails of activations are 0, and so are those of y
// Host        src/kernels/relu_gradient.rs     Reference  src/reference/relu_gradient.rs

@group(0) @binding(0) var<storage, read> input: array<vec4<f32>>;
@group(0) @binding(1) var<storage, read> activation: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read_write> output: array<vec4<f32>>;

override LEN: u32;
override STRIDE_THREADS: u32;

const THREADS: u32 = 256u;

@compute @workgroup_size(THREADS)
fn main(@builtin(global_invocation_id) global: vec3<u32>) {
    for (var ix = global.x; ix < LEN; ix += STRIDE_THREADS) {
        output[ix] = select(vec4<f32>(), input[ix], activation[ix] > vec4<f32>());
    }
}
