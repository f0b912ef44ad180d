// texture_to_tensor
//
//   y[n,c,h,w] = x[n,c,h,w]
//
// Layout      x: folded texture, one texel = four channels of one pixel   y: channel-packed vec4<f32>
// Workgroup   THREADS vectors
// Thread      one vector per trip of a grid-stride loop
// Grid        grid-stride over len threads, x only
// Memory      none
// Barriers    none
// Edges       channel tails are zeros already
// Host        src/kernels/textures/texture_to_tensor.rs     Reference  src/tensor.rs

@group(0) @binding(0) var input: texture_storage_2d<rgba32float, read>;
@group(0) @binding(1) var<storage, read_write> output: array<vec4<f32>>;

struct Geometry {
    len: u32,
    stride_threads: u32,
}
var<immediate> geometry: Geometry;

const THREADS: u32 = 64u;

// A texture is FOLD_WIDTH texels wide; the first row of an activation is zero.
const FOLD_SHIFT: u32 = 10u;
const FOLD_WIDTH: u32 = 1u << FOLD_SHIFT;

fn folded(ix: u32) -> vec2<u32> {
    return vec2<u32>(ix & (FOLD_WIDTH - 1u), ix >> FOLD_SHIFT);
}

@compute @workgroup_size(THREADS)
fn main(@builtin(global_invocation_id) global: vec3<u32>) {
    for (var ix = global.x; ix < geometry.len; ix += geometry.stride_threads) {
        output[ix] = textureLoad(input, folded(FOLD_WIDTH + ix));
    }
}
