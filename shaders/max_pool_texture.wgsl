// max_pool_texture
//
//   y[n,c,oy,ox] = max_{ky,kx} x[n,c, oy·stride_h+ky-pad_top, ox·stride_w+kx-pad_left]
//
// Layout      x, y: folded textures, one texel = four channels of one pixel
// Workgroup   THREADS outputs of four channels
// Thread      four channels of one output pixel per trip of a grid-stride loop
// Grid        grid-stride over groups · out_pixels threads, x only
// Memory      none
// Barriers    none
// Edges       positions outside the image are skipped, or count as 0 when zero_padded; no window lies wholly outside
// Host        src/kernels/max_pool_texture.rs     Reference  src/reference/max_pool.rs

@group(0) @binding(0) var input: texture_storage_2d<rgba32float, read>;
@group(0) @binding(1) var output: texture_storage_2d<rgba32float, write>;

struct Geometry {
    groups: u32,
    in_h: u32,
    in_w: u32,
    in_pixels: u32,
    out_h: u32,
    out_w: u32,
    out_pixels: u32,
    kernel_h: u32,
    kernel_w: u32,
    stride_h: u32,
    stride_w: u32,
    pad_top: u32,
    pad_left: u32,
    zero_padded: u32,
    stride_threads: u32,
}
var<immediate> geometry: Geometry;

const THREADS: u32 = 64u;
const LOWEST: f32 = -3.40282347e38;

// A texture is FOLD_WIDTH texels wide; the first row of an activation is zero.
const FOLD_SHIFT: u32 = 10u;
const FOLD_WIDTH: u32 = 1u << FOLD_SHIFT;

fn folded(ix: u32) -> vec2<u32> {
    return vec2<u32>(ix & (FOLD_WIDTH - 1u), ix >> FOLD_SHIFT);
}

fn pool(c_group: u32, px: u32) -> vec4<f32> {
    let ox = px % geometry.out_w;
    let row = px / geometry.out_w;
    let oy = row % geometry.out_h;
    let n = row / geometry.out_h;
    var y = vec4<f32>(LOWEST);
    for (var ky = 0u; ky < geometry.kernel_h; ky++) {
        let iy = i32(oy * geometry.stride_h + ky) - i32(geometry.pad_top);
        for (var kx = 0u; kx < geometry.kernel_w; kx++) {
            let ix = i32(ox * geometry.stride_w + kx) - i32(geometry.pad_left);
            // A coordinate below zero is a large one as an unsigned number.
            if (u32(iy) < geometry.in_h && u32(ix) < geometry.in_w) {
                let input_ix = c_group * geometry.in_pixels + (n * geometry.in_h + u32(iy)) * geometry.in_w + u32(ix);
                let x = textureLoad(input, folded(FOLD_WIDTH + input_ix));
                y = max(y, x);
            } else if (geometry.zero_padded != 0u) {
                y = max(y, vec4<f32>());
            }
        }
    }
    return y;
}

@compute @workgroup_size(THREADS)
fn main(@builtin(global_invocation_id) global: vec3<u32>) {
    let len = geometry.groups * geometry.out_pixels;
    for (var ix = global.x; ix < len; ix += geometry.stride_threads) {
        let y = pool(ix / geometry.out_pixels, ix % geometry.out_pixels);
        textureStore(output, folded(FOLD_WIDTH + ix), y);
    }
}
