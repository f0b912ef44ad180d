// global_avg_pool_texture
//
//   y[n,c] = Σ_{h,w} x[n,c,h,w] / (H·W)
//
// Layout      x, y: folded textures, one texel = four channels of one pixel; y has one pixel per image
// Workgroup   THREADS outputs of four channels
// Thread      four channels of one image per trip of a grid-stride loop
// Grid        grid-stride over len = ceil(C / 4) · N threads, x only
// Memory      none
// Barriers    none
// Edges       any number of pixels
// Host        src/kernels/textures/global_avg_pool_texture.rs     Reference  src/reference/global_avg_pool.rs

@group(0) @binding(0) var input: texture_storage_2d<rgba32float, read>;
@group(0) @binding(1) var output: texture_storage_2d<rgba32float, write>;

struct Geometry {
    len: u32,
    // Pixels of one image.
    pixels: u32,
    stride_threads: u32,
}
var<immediate> geometry: Geometry;

const THREADS: u32 = 8u;

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
        let first = FOLD_WIDTH + ix * geometry.pixels;
        var sum = vec4<f32>();
        for (var pixel = 0u; pixel < geometry.pixels; pixel++) {
            sum += textureLoad(input, folded(first + pixel));
        }
        textureStore(output, folded(FOLD_WIDTH + ix), narrowed(sum / f32(geometry.pixels)));
    }
}
