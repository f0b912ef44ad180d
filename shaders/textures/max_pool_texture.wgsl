// max_pool_texture
//
//   y[n,c,oy,ox] = max_{ky,kx} x[n,c, oy·STRIDE_H+ky-PAD_TOP, ox·STRIDE_W+kx-PAD_LEFT]
//
// Layout      x, y: folded textures, one texel = four channels of one pixel
// Workgroup   THREADS outputs of four channels
// Thread      four channels of one output pixel per trip of a grid-stride loop
// Grid        grid-stride over GROUPS · OUT_PIXELS threads, x only
// Memory      none
// Barriers    none
// Edges       positions outside the image are skipped, or count as 0 when ZERO_PADDED; no window lies entirely outside
// Host        src/kernels/textures/max_pool_texture.rs     Reference  src/reference/max_pool.rs

@group(0) @binding(0) var input: texture_storage_2d<rgba32float, read>;
@group(0) @binding(1) var output: texture_storage_2d<rgba32float, write>;

override GROUPS: u32;
override IN_H: u32;
override IN_W: u32;
override IN_PIXELS: u32;
override OUT_H: u32;
override OUT_W: u32;
override OUT_PIXELS: u32;
override KERNEL_H: u32;
override KERNEL_W: u32;
override STRIDE_H: u32;
override STRIDE_W: u32;
override PAD_TOP: u32;
override PAD_LEFT: u32;
override ZERO_PADDED: bool;
override STRIDE_THREADS: u32;

const THREADS: u32 = 256u;
const LOWEST: f32 = -3.40282346e38;

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

fn pool(c_group: u32, px: u32) -> vec4<f32> {
    let ox = px % OUT_W;
    let row = px / OUT_W;
    let oy = row % OUT_H;
    let n = row / OUT_H;
    var y = vec4<f32>(LOWEST);
    for (var ky = 0u; ky < KERNEL_H; ky++) {
        let iy = i32(oy * STRIDE_H + ky) - i32(PAD_TOP);
        for (var kx = 0u; kx < KERNEL_W; kx++) {
            let ix = i32(ox * STRIDE_W + kx) - i32(PAD_LEFT);
            // As an unsigned number, a negative coordinate is large.
            if (u32(iy) < IN_H && u32(ix) < IN_W) {
                let input_ix = c_group * IN_PIXELS + (n * IN_H + u32(iy)) * IN_W + u32(ix);
                let x = textureLoad(input, folded(FOLD_WIDTH + input_ix));
                y = max(y, x);
            } else if (ZERO_PADDED) {
                y = max(y, vec4<f32>());
            }
        }
    }
    return y;
}

@compute @workgroup_size(THREADS)
fn main(@builtin(global_invocation_id) global: vec3<u32>) {
    for (var ix = global.x; ix < GROUPS * OUT_PIXELS; ix += STRIDE_THREADS) {
        let y = pool(ix / OUT_PIXELS, ix % OUT_PIXELS);
        textureStore(output, folded(FOLD_WIDTH + ix), narrowed(y));
    }
}
