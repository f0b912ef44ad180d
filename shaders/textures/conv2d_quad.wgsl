// conv2d_quad
//
//   y[n,co,oy,ox] = act( bias[co] + Σ_{ky,kx,ci} w[co,ci,ky,kx] · x[n,ci, oy·stride_h+ky·DILATION_H-pad_top, ox·stride_w+kx·DILATION_W-pad_left]
//                        + residual[n,co,oy,ox] )
//
// Layout      as conv2d_texture: folded textures; w with TILE_CO = 16
// Workgroup   one quad, four lanes: 16 output channels × 4 groups of four output pixels of the whole batch
// Thread      16 channels × 4 pixels, four apart, in named vectors: SwiftShader keeps indexed arrays in memory and unrolls nothing
// Grid        [ceil(N·OUT_H·OUT_W / 16), ceil(OUT_C / 16), problems], problems as in conv2d_texture
// Memory      none; each lane fetches the weights of its own output channels and the quad passes them around
// Barriers    none
// Edges       taps outside the image and pixels past the end read texel 0, which is zero; stores past the end are skipped
// Host        src/kernels/textures/conv2d_quad.rs     Reference  src/reference/conv2d.rs

// Fetched through the texture unit: SwiftShader reads a storage texture lane by lane and scalar by scalar.
@group(0) @binding(0) var input: texture_2d<f32>;
@group(0) @binding(1) var weight: texture_2d<f32>;
@group(0) @binding(2) var residual: texture_2d<f32>;
@group(0) @binding(3) var output: texture_storage_2d<rgba32float, read_write>;

struct Geometry {
    in_groups: i32,
    in_h: i32,
    in_w: i32,
    in_pixels: i32,
    out_groups: i32,
    out_h: i32,
    out_w: i32,
    out_pixels: i32,
    // Columns of the kernel · DILATION_W.
    kernel_w: i32,
    stride_h: i32,
    stride_w: i32,
    pad_top: i32,
    pad_left: i32,
    // Taps × channel groups.
    steps: i32,
    relu: i32,
}
var<immediate> geometry: Geometry;

// Whether every output pixel reads only the input pixel with the same index.
override POINTWISE: bool;
// 0: none, 1: read from `residual`, 2: in place, read from `output`.
override RESIDUAL: u32;

// Channels of a texel that are not always zero.
const TAP_CHANNELS: u32 = 4u;
// Pixels from one tap to the next.
const DILATION_H: u32 = 1u;
const DILATION_W: u32 = 1u;

const LANES: i32 = 4;
const TILE_CO: i32 = 16;
const TILE_PX: i32 = 16;

// A texture is FOLD_WIDTH texels wide; the first row of an activation is zero.
const FOLD_SHIFT: u32 = 10u;
const FOLD_WIDTH: i32 = 1 << FOLD_SHIFT;

fn folded(ix: i32) -> vec2<i32> {
    return vec2<i32>(ix & (FOLD_WIDTH - 1), ix >> FOLD_SHIFT);
}

// Four channels of a pixel as the texture keeps them.
fn narrowed(value: vec4<f32>) -> vec4<f32> {
    return value;
}

// The upper left tap of an output pixel.
struct Window {
    iy: i32,
    ix: i32,
    texel: i32,
}

fn window_of(px: i32, problem: i32) -> Window {
    if (POINTWISE) {
        // All images are one row of pixels; results past the end are not stored.
        let row = problem * geometry.in_groups * geometry.in_pixels;
        return Window(0, 0, FOLD_WIDTH + row + min(px, geometry.out_pixels - 1));
    }
    let row = px / geometry.out_w;
    let n = row / geometry.out_h;
    let iy = (row - n * geometry.out_h) * geometry.stride_h - geometry.pad_top;
    let ix = (px - row * geometry.out_w) * geometry.stride_w - geometry.pad_left;
    let texel = FOLD_WIDTH + (n * geometry.in_h + iy) * geometry.in_w + ix;
    // Pixels past the end: above the top of every image, and far enough for any kernel.
    return Window(select(iy, -0x40000000, px >= geometry.out_pixels), ix, texel);
}

fn input_at(window: Window, ky: i32, kx: i32, offset: i32) -> vec4<f32> {
    var texel = window.texel + offset;
    if (!POINTWISE) {
        let inside = u32(window.iy + ky) < u32(geometry.in_h) && u32(window.ix + kx) < u32(geometry.in_w);
        texel = select(0, texel, inside);
    }
    return textureLoad(input, folded(texel), 0);
}

fn weight_at(texel: i32) -> vec4<f32> {
    return textureLoad(weight, folded(texel), 0);
}

// Σ_k w[k] · x[k], scalar by scalar: a product of vectors has four results, and Subzero spills them.
fn products(w: vec4<f32>, x: vec4<f32>) -> f32 {
    let first = w.x * x.x + w.y * x.y;
    if (TAP_CHANNELS == 3u) {
        return first + w.z * x.z;
    }
    return first + (w.z * x.z + w.w * x.w);
}

// The weights of four output channels, one of each lane.
struct Weights {
    co0: vec4<f32>,
    co1: vec4<f32>,
    co2: vec4<f32>,
    co3: vec4<f32>,
}

fn weights_of_quad(w: vec4<f32>) -> Weights {
    return Weights(quadBroadcast(w, 0u), quadBroadcast(w, 1u), quadBroadcast(w, 2u), quadBroadcast(w, 3u));
}

fn products_of_four(w: Weights, x: vec4<f32>) -> vec4<f32> {
    return vec4<f32>(products(w.co0, x), products(w.co1, x), products(w.co2, x), products(w.co3, x));
}

fn store(co_group: i32, px: i32, problem: i32, sum: vec4<f32>) {
    if (co_group < geometry.out_groups && px < geometry.out_pixels) {
        let texel = folded(FOLD_WIDTH + (problem * geometry.out_groups + co_group) * geometry.out_pixels + px);
        var y = sum;
        if (RESIDUAL == 1u) {
            y += textureLoad(residual, texel, 0);
        } else if (RESIDUAL == 2u) {
            y += textureLoad(output, texel);
        }
        textureStore(output, texel, narrowed(select(y, vec4<f32>(), (y < vec4<f32>()) & vec4<bool>(geometry.relu != 0))));
    }
}

@compute @workgroup_size(LANES)
fn main(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) workgroups: vec3<u32>,
    @builtin(local_invocation_id) local: vec3<u32>,
) {
    let lane = i32(local.x);
    let co_block = i32(workgroup.y);
    let problem = i32(workgroup.z);
    let first_px = i32(workgroup.x) * TILE_PX + lane;
    let block_ix = (problem * i32(workgroups.y) + co_block) * (geometry.steps + 1) * TILE_CO;

    // 1. Place the window of every pixel
    let window0 = window_of(first_px, problem);
    let window1 = window_of(first_px + LANES, problem);
    let window2 = window_of(first_px + 2 * LANES, problem);
    let window3 = window_of(first_px + 3 * LANES, problem);

    // Sums of channel group c and pixel p: c<c>p<p>.
    let bias0 = weight_at(block_ix);
    let bias1 = weight_at(block_ix + 1);
    let bias2 = weight_at(block_ix + 2);
    let bias3 = weight_at(block_ix + 3);
    var c0p0 = bias0;
    var c0p1 = bias0;
    var c0p2 = bias0;
    var c0p3 = bias0;
    var c1p0 = bias1;
    var c1p1 = bias1;
    var c1p2 = bias1;
    var c1p3 = bias1;
    var c2p0 = bias2;
    var c2p1 = bias2;
    var c2p2 = bias2;
    var c2p3 = bias2;
    var c3p0 = bias3;
    var c3p1 = bias3;
    var c3p2 = bias3;
    var c3p3 = bias3;

    // 2. Multiply, taps outside, channel groups inside
    var weight_ix = block_ix + lane;
    var ci_group = 0;
    var ky = 0;
    var kx = 0;
    var offset = 0;
    for (var step = 0; step < geometry.steps; step++) {
        let x0 = input_at(window0, ky, kx, offset);
        let x1 = input_at(window1, ky, kx, offset);
        let x2 = input_at(window2, ky, kx, offset);
        let x3 = input_at(window3, ky, kx, offset);
        weight_ix += TILE_CO;
        let texel0 = weight_at(weight_ix);
        let texel1 = weight_at(weight_ix + LANES);
        let texel2 = weight_at(weight_ix + 2 * LANES);
        let texel3 = weight_at(weight_ix + 3 * LANES);

        let w0 = weights_of_quad(texel0);
        c0p0 += products_of_four(w0, x0);
        c0p1 += products_of_four(w0, x1);
        c0p2 += products_of_four(w0, x2);
        c0p3 += products_of_four(w0, x3);
        let w1 = weights_of_quad(texel1);
        c1p0 += products_of_four(w1, x0);
        c1p1 += products_of_four(w1, x1);
        c1p2 += products_of_four(w1, x2);
        c1p3 += products_of_four(w1, x3);
        let w2 = weights_of_quad(texel2);
        c2p0 += products_of_four(w2, x0);
        c2p1 += products_of_four(w2, x1);
        c2p2 += products_of_four(w2, x2);
        c2p3 += products_of_four(w2, x3);
        let w3 = weights_of_quad(texel3);
        c3p0 += products_of_four(w3, x0);
        c3p1 += products_of_four(w3, x1);
        c3p2 += products_of_four(w3, x2);
        c3p3 += products_of_four(w3, x3);

        if (POINTWISE) {
            offset += geometry.in_pixels;
        } else {
            ci_group += 1;
            let next_tap = ci_group == geometry.in_groups;
            ci_group = select(ci_group, 0, next_tap);
            kx = select(kx, kx + i32(DILATION_W), next_tap);
            let next_row = kx == geometry.kernel_w;
            kx = select(kx, 0, next_row);
            ky = select(ky, ky + i32(DILATION_H), next_row);
            offset = ci_group * geometry.in_pixels + ky * geometry.in_w + kx;
        }
    }

    // 3. Store
    let group = co_block * (TILE_CO / 4);
    store(group, first_px, problem, c0p0);
    store(group, first_px + LANES, problem, c0p1);
    store(group, first_px + 2 * LANES, problem, c0p2);
    store(group, first_px + 3 * LANES, problem, c0p3);
    store(group + 1, first_px, problem, c1p0);
    store(group + 1, first_px + LANES, problem, c1p1);
    store(group + 1, first_px + 2 * LANES, problem, c1p2);
    store(group + 1, first_px + 3 * LANES, problem, c1p3);
    store(group + 2, first_px, problem, c2p0);
    store(group + 2, first_px + LANES, problem, c2p1);
    store(group + 2, first_px + 2 * LANES, problem, c2p2);
    store(group + 2, first_px + 3 * LANES, problem, c2p3);
    store(group + 3, first_px, problem, c3p0);
    store(group + 3, first_px + LANES, problem, c3p1);
    store(group + 3, first_px + 2 * LANES, problem, c3p2);
    store(group + 3, first_px + 3 * LANES, problem, c3p3);
}
