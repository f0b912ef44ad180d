// relu
//
//   y[n,c,h,w] = max( x[n,c,h,w], 0 )
//
// Layout      x, y: channel-packed vectors
// Workgroup   THREADS vectors
// Thread      one vector per trip of a grid-stride loop
// Grid        grid-stride over LEN threads, x only
// Memory      none
// Barriers    none
// Edges       channel tails stay zero
// Host        src/kernels/relu.rs     Reference  src/reference/relu.rs

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

override LEN: u32;
override STRIDE_THREADS: u32;

const THREADS: u32 = 256u;

@compute @workgroup_size(THREADS)
fn main(@builtin(global_invocation_id) global: vec3<u32>) {
    for (var ix = global.x; ix < LEN; ix += STRIDE_THREADS) {
        let x = widened(input[ix]);
        // `max` may drop a NaN.
        output[ix] = narrowed(select(x, vec4<f32>(), x < vec4<f32>()));
    }
}
