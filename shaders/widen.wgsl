// widen
//
//   y = x
//
// Layout      x: channel-packed vectors   y: channel-packed vec4<f32>
// Workgroup   THREADS vectors
// Thread      one vector per trip of a grid-stride loop
// Grid        grid-stride over LEN threads, x only
// Memory      none
// Barriers    none
// Edges       none: channel tails of x are zero, and so are those of y
// Host        src/kernels/widen.rs     Reference  src/tensor.rs

// Four channels of a pixel as they lie in memory.
alias Stored = vec4<f32>;

fn widened(stored: Stored) -> vec4<f32> {
    return stored;
}

fn narrowed(value: vec4<f32>) -> Stored {
    return value;
}

@group(0) @binding(0) var<storage, read> input: array<Stored>;
@group(0) @binding(1) var<storage, read_write> output: array<vec4<f32>>;

override LEN: u32;
override STRIDE_THREADS: u32;

const THREADS: u32 = 256u;

@compute @workgroup_size(THREADS)
fn main(@builtin(global_invocation_id) global: vec3<u32>) {
    for (var ix = global.x; ix < LEN; ix += STRIDE_THREADS) {
        output[ix] = widened(input[ix]);
    }
}
