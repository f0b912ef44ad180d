// gate_texture
//
//   y[n,c,h,w] = x[n,c,h,w] / (1 + exp(-gate[n,c]))
//
// Layout      x, gates, y: folded textures, one texel = four channels of one pixel
// Workgroup   THREADS texels
// Thread      one texel per trip of a grid-stride loop
// Grid        grid-stride over LEN threads, x only
// Memory      none
// Barriers    none
// Edges       channel tails are products of zeros
// Host        src/kernels/textures/gate_texture.rs     Reference  src/reference/gate.rs

@group(0) @binding(0) var input: texture_storage_2d<rgba32float, read>;
@group(0) @binding(1) var gates: texture_storage_2d<rgba32float, read>;
@group(0) @binding(2) var output: texture_storage_2d<rgba32float, write>;

override LEN: u32;
// Pixels of one image.
override PLANE: u32;
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
        let gate = textureLoad(gates, folded(FOLD_WIDTH + ix / PLANE));
        let open = vec4<f32>(1.0) / (vec4<f32>(1.0) + exp(-gate));
        textureStore(output, texel, narrowed(textureLoad(input, texel) * open));
    }
}
