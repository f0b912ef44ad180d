// residual_add_texture
//
//   y[n,c,h,w] = act( x[n,c,h,w] + residual[n,c,h,w] )
//
// Layout      x, residual, y: folded textures, one texel = four channels of one pixel
// Workgroup   THREADS texels
// Thread      one texel per trip of a grid-stride loop
// Grid        grid-stride over LEN threads, x only
// Memory      none
// Barriers    none
// Edges       channel tails are sums of zeros
// Host        src/kernels/textures/residual_add_texture.rs     Reference  src/reference/add.rs

@group(0) @binding(0) var input: texture_storage_2d<rgba32float, read>;
@group(0) @binding(1) var residual: texture_storage_2d<rgba32float, read>;
@group(0) @binding(2) var output: texture_storage_2d<rgba32float, write>;

override LEN: u32;
override RELU: bool;
override STRIDE_THREADS: u32;

const THREADS: u32 = 256u;

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
    for (var ix = global.x; ix < LEN; ix += STRIDE_THREADS) {
        let texel = folded(FOLD_WIDTH + ix);
        let y = textureLoad(input, texel) + textureLoad(residual, texel);
        textureStore(output, texel, narrowed(select(y, vec4<f32>(), (y < vec4<f32>()) & vec4<bool>(RELU))));
    }
}
