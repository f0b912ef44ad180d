// image_to_tensor_texture
//
//   y[n,c,h,w] = pixel[n,h,w].c · scale[c] + shift[c],   scale = 1 / (255·std),  shift = −mean / std
//
// Layout      pixels: RGBA8, one u32 each, red in the lowest byte   y: folded texture, three channels and a zero
// Workgroup   THREADS pixels
// Thread      one pixel per trip of a grid-stride loop
// Grid        grid-stride over PIXELS threads, x only
// Memory      none
// Barriers    none
// Edges       alpha is ignored; the fourth channel stores 0
// Host        src/kernels/textures/image_to_tensor_texture.rs     Reference  src/reference/image_to_tensor.rs

@group(0) @binding(0) var<storage, read> pixels: array<u32>;
@group(0) @binding(1) var output: texture_storage_2d<rgba32float, write>;

// Pixels of the whole batch; scale and shift are in the order of the tensor's channels.
override PIXELS: u32;
override SCALE_0: f32;
override SCALE_1: f32;
override SCALE_2: f32;
override SHIFT_0: f32;
override SHIFT_1: f32;
override SHIFT_2: f32;
override SWAP_RED_BLUE: bool;
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
    let scale = vec3<f32>(SCALE_0, SCALE_1, SCALE_2);
    let shift = vec3<f32>(SHIFT_0, SHIFT_1, SHIFT_2);
    for (var px = global.x; px < PIXELS; px += STRIDE_THREADS) {
        let bytes = (vec3(pixels[px]) >> vec3(0u, 8u, 16u)) & vec3(255u);
        let channels = vec3<f32>(select(bytes, bytes.zyx, SWAP_RED_BLUE));
        textureStore(output, folded(FOLD_WIDTH + px), narrowed(vec4<f32>(channels * scale + shift, 0.0)));
    }
}
