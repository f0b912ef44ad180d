// tensor_to_texture
//
//   y[n,c,h,w] = x[n,c,h,w]
//
// Layout      x: channel-packed vec4<f32>   y: folded texture, one texel = four channels of one pixel
// Workgroup   THREADS vectors
// Thread      one vector per trip of a grid-stride loop
// Grid        grid-stride over len threads, x only
// Memory      none
// Barriers    none
// Edges       channel tails are zeros already
// Host        src/kernels/textures/tensor_to_texture.rs     Reference  src/tensor.rs

@group(0) @binding(0) var<storage, read> input: array<vec4<f32>>;
@group(0) @binding(1) var output: texture_storage_2d<rgba32float, write>;

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

// Four channels of a pixel as the texture keeps them.
fn narrowed(value: vec4<f32>) -> vec4<f32> {
    return value;
}

@compute @workgroup_size(THREADS)
fn main(@builtin(global_invocation_id) global: vec3<u32>) {
    for (var ix = global.x; ix < geometry.len; ix += geometry.stride_threads) {
        textureStore(output, folded(FOLD_WIDTH + ix), narrowed(input[ix]));
    }
}
