// gate
//
//   y[n,c,h,w] = x[n,c,h,w] / (1 + exp(-gate[n,c]))
//
// Layout      x, gates, y: channel-packed vectors; the gates have one pixel for each image
// Workgroup   THREADS vectors
// Thread      one vector per trip of a grid-stride loop
// Grid        grid-stride over LEN threads, x only
// Memory      none
// Barriers    none
// Edges       channel tails are products of zeros
// Host        src/kernels/gate.rs     Reference  src/reference/gate.rs

// Four channels of a pixel as they lie in memory.
alias Stored = vec4<f32>;

fn widened(stored: Stored) -> vec4<f32> {
    return stored;
}

fn narrowed(value: vec4<f32>) -> Stored {
    return value;
}

@group(0) @binding(0) var<storage, read> input: array<Stored>;
@group(0) @binding(1) var<storage, read> gates: array<Stored>;
@group(0) @binding(2) var<storage, read_write> output: array<Stored>;

override LEN: u32;
// Pixels of one image.
override PLANE: u32;
override STRIDE_THREADS: u32;

const THREADS: u32 = 256u;

@compute @workgroup_size(THREADS)
fn main(@builtin(global_invocation_id) global: vec3<u32>) {
    for (var ix = global.x; ix < LEN; ix += STRIDE_THREADS) {
        // The vectors of the gates are those of the activation with one pixel in place of each image.
        let open = vec4<f32>(1.0) / (vec4<f32>(1.0) + exp(-widened(gates[ix / PLANE])));
        output[ix] = narrowed(widened(input[ix]) * open);
    }
}
