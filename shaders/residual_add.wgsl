// residual_add
//
//   y[n,c,h,w] = act( x[n,c,h,w] + residual[n,c,h,w] )
//
// Layout      x, residual, y: channel-packed vectors
// Workgroup   THREADS vectors
// Thread      one vector per trip of a grid-stride loop
// Grid        grid-stride over LEN threads, x only
// Memory      none
// Barriers    none
// Edges       channel tails are sums of zeros
// Host        src/kernels/residual_add.rs     Reference  src/reference/add.rs

// Four channels of a pixel as they lie in memory.
alias Stored = vec4<f32>;

fn widened(stored: Stored) -> vec4<f32> {
    return stored;
}

fn narrowed(value: vec4<f32>) -> Stored {
    return value;
}

@group(0) @binding(0) var<storage, read> input: array<Stored>;
@group(0) @binding(1) var<storage, read> residual: array<Stored>;
@group(0) @binding(2) var<storage, read_write> output: array<Stored>;

override LEN: u32;
override RELU: bool;
override STRIDE_THREADS: u32;

const THREADS: u32 = 256u;

@compute @workgroup_size(THREADS)
fn main(@builtin(global_invocation_id) global: vec3<u32>) {
    for (var ix = global.x; ix < LEN; ix += STRIDE_THREADS) {
        let y = widened(input[ix]) + widened(residual[ix]);
        output[ix] = narrowed(select(y, vec4<f32>(), (y < vec4<f32>()) & vec4<bool>(RELU)));
    }
}
