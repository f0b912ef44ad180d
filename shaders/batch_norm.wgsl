// batch_norm
//
//   y[n,c,h,w] = act( x[n,c,h,w] · scale[c] + shift[c] ),   scale = γ/√(σ²+ε),  shift = β − μ·scale
//
// Layout      x, y: channel-packed vectors   scale, shift: [c], zero-padded
// Workgroup   THREADS vectors
// Thread      one vector per trip of a grid-stride loop
// Grid        grid-stride over GROUPS · PIXELS threads, x only
// Memory      none
// Barriers    none
// Edges       lanes past C have zero scale and shift, so tails stay zero
// Host        src/kernels/batch_norm.rs     Reference  src/reference/batch_norm.rs

// Four channels of a pixel as they lie in memory.
alias Stored = vec4<f32>;

fn widened(stored: Stored) -> vec4<f32> {
    return stored;
}

fn narrowed(value: vec4<f32>) -> Stored {
    return value;
}

@group(0) @binding(0) var<storage, read> input: array<Stored>;
@group(0) @binding(1) var<storage, read> scale: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read> shift: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read_write> output: array<Stored>;

override GROUPS: u32;
override PIXELS: u32;
override RELU: bool;
override STRIDE_THREADS: u32;

const THREADS: u32 = 256u;

@compute @workgroup_size(THREADS)
fn main(@builtin(global_invocation_id) global: vec3<u32>) {
    for (var ix = global.x; ix < GROUPS * PIXELS; ix += STRIDE_THREADS) {
        let c_group = ix / PIXELS;
        let y = widened(input[ix]) * scale[c_group] + shift[c_group];
        output[ix] = narrowed(select(y, vec4<f32>(), (y < vec4<f32>()) & vec4<bool>(RELU)));
    }
}
