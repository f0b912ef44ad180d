// conv2d_texture
//
//   y[n,co,oy,ox] = act( bias[co] + Σ_{ky,kx,ci} w[co,ci,ky,kx] · x[n,ci, oy·stride_h+ky·DILATION_H-pad_top, ox·stride_w+kx·DILATION_W-pad_left]
//                        + residual[n,co,oy,ox] )
//
// Layout      x, residual, y: folded textures, one texel = four channels of one pixel; residual and y may be the same one
//             w: folded texture, [co block][1 + (ky,kx,ci group)][TILE_CO]: first the biases, four to a texel, then one texel =
//             four input channels of one output channel; zero-padded
// Workgroup   one subgroup of LANES: TILE_CO output channels × PX_GROUPS · LANES output pixels of the whole batch
// Thread      TILE_CO × PX_GROUPS outputs, in registers; pixels LANES apart
// Grid        [ceil(N·OUT_H·OUT_W / (PX_GROUPS·LANES)), ceil(OUT_C / TILE_CO), problems]; those along z lie one after the other
//             in every texture and are POINTWISE: the components of a Winograd convolution
// Memory      none; each lane fetches the weights of its own output channels and the subgroup passes them around
// Barriers    none
// Edges       taps outside the image and pixels past the end read texel 0, which is zero; stores past the end are skipped
// Host        src/kernels/textures/conv2d_texture.rs     Reference  src/reference/conv2d.rs

@group(0) @binding(0) var input: texture_storage_2d<rgba32float, read>;
@group(0) @binding(1) var weight: texture_storage_2d<rgba32float, read>;
@group(0) @binding(2) var residual: texture_storage_2d<rgba32float, read>;
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
var<immediate> immediates: Geometry;

// Whether every output pixel reads only the input pixel with the same index.
override POINTWISE: bool;
// 0: none, 1: read from `residual`, 2: in place, read from `output`.
override RESIDUAL: u32;
// Whether a multiplication and an addition are one instruction. Then each output channel is a branch of its own: across a
// branch, llvmpipe's compiler does not mix the sums, of which it has no registers for more than a few.
override FUSED: bool;

const TILE_CO: u32 = 32u;
const PX_GROUPS: u32 = 4u;
// Output channels whose weights are in registers together: 1, 2 or 4. Four of them take sixteen vectors.
const CO_AT_ONCE: u32 = 1u;
// Channels of a texel that are not always zero.
const TAP_CHANNELS: u32 = 4u;
// Pixels from one tap to the next.
const DILATION_H: u32 = 1u;
const DILATION_W: u32 = 1u;

const LANES: u32 = 8u;
const CO_GROUPS: u32 = TILE_CO / 4u;
const ROUNDS: u32 = 4u / CO_AT_ONCE;
const WEIGHTS_PER_LANE: u32 = (TILE_CO + LANES - 1u) / LANES;

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

// sum + Σ_k w[k] · x[k]: fused, a chain; otherwise a tree, which is shorter and has one sum to add.
fn sum_with_products(sum: f32, w: vec4<f32>, x: vec4<f32>) -> f32 {
    if (FUSED) {
        let first = fma(w[2], x[2], fma(w[1], x[1], fma(w[0], x[0], sum)));
        if (TAP_CHANNELS == 3u) {
            return first;
        }
        return fma(w[3], x[3], first);
    }
    let first = w[0] * x[0] + w[1] * x[1];
    if (TAP_CHANNELS == 3u) {
        return sum + (first + w[2] * x[2]);
    }
    return sum + (first + (w[2] * x[2] + w[3] * x[3]));
}

@compute @workgroup_size(LANES)
fn main(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) workgroups: vec3<u32>,
    @builtin(local_invocation_id) local: vec3<u32>,
) {
    // Read once: inside a loop or a branch, llvmpipe turns every read of an immediate into a gather.
    let geometry = immediates;
    let lane = local.x;
    let co_block = i32(workgroup.y);
    let first_px = i32(workgroup.x * PX_GROUPS * LANES + lane);
    let problem = i32(workgroup.z);
    var weight_ix = (problem * i32(workgroups.y) + co_block) * (geometry.steps + 1) * i32(TILE_CO) + i32(lane);

    // 1. Place the window of every pixel
    var iy: array<i32, PX_GROUPS>;
    var ix: array<i32, PX_GROUPS>;
    var input_ix: array<i32, PX_GROUPS>;
    for (var p = 0u; p < PX_GROUPS; p++) {
        let px = first_px + i32(p * LANES);
        if (POINTWISE) {
            // All images are one row of pixels; results past the end are not stored.
            let row = problem * geometry.in_groups * geometry.in_pixels;
            input_ix[p] = FOLD_WIDTH + row + min(px, geometry.out_pixels - 1);
        } else {
            let row = px / geometry.out_w;
            let n = row / geometry.out_h;
            iy[p] = (row - n * geometry.out_h) * geometry.stride_h - geometry.pad_top;
            ix[p] = (px - row * geometry.out_w) * geometry.stride_w - geometry.pad_left;
            input_ix[p] = FOLD_WIDTH + (n * geometry.in_h + iy[p]) * geometry.in_w + ix[p];
            if (px >= geometry.out_pixels) {
                // Above the top of every image, and far enough for any kernel.
                iy[p] = -0x40000000;
            }
        }
    }
    let biases = textureLoad(weight, folded(weight_ix));
    var sums: array<array<array<array<f32, PX_GROUPS>, CO_AT_ONCE>, ROUNDS>, CO_GROUPS>;
    for (var c = 0u; c < CO_GROUPS; c++) {
        for (var r = 0u; r < ROUNDS; r++) {
            for (var i = 0u; i < CO_AT_ONCE; i++) {
                for (var p = 0u; p < PX_GROUPS; p++) {
                    sums[c][r][i][p] = subgroupShuffle(biases[r * CO_AT_ONCE + i], c);
                }
            }
        }
    }

    // True, which no compiler knows. Of two neighbouring branches with the same condition it would make one.
    let even = geometry.steps > 0;
    let odd = geometry.in_groups > 0;

    // 2. Multiply, taps outside, channel groups inside
    var ci_group = 0;
    var ky = 0;
    var kx = 0;
    var offset = 0;
    for (var step = 0; step < geometry.steps; step++) {
        var x: array<vec4<f32>, PX_GROUPS>;
        for (var p = 0u; p < PX_GROUPS; p++) {
            var texel = input_ix[p] + offset;
            if (!POINTWISE) {
                let inside = u32(iy[p] + ky) < u32(geometry.in_h) && u32(ix[p] + kx) < u32(geometry.in_w);
                texel = select(0, texel, inside);
            }
            x[p] = textureLoad(input, folded(texel));
        }
        weight_ix += i32(TILE_CO);
        var w: array<vec4<f32>, WEIGHTS_PER_LANE>;
        for (var i = 0u; i < WEIGHTS_PER_LANE; i++) {
            w[i] = textureLoad(weight, folded(weight_ix + i32(i * LANES)));
        }
        for (var c = 0u; c < CO_GROUPS; c++) { // unroll
            for (var r = 0u; r < ROUNDS; r++) {
                if (!FUSED | select(even, odd, r % 2u == 1u)) {
                    var weight_of_co: array<vec4<f32>, CO_AT_ONCE>;
                    for (var i = 0u; i < CO_AT_ONCE; i++) {
                        let co = c * 4u + r * CO_AT_ONCE + i;
                        weight_of_co[i] = subgroupShuffle(w[co / LANES], co % LANES);
                    }
                    for (var p = 0u; p < PX_GROUPS; p++) {
                        for (var i = 0u; i < CO_AT_ONCE; i++) {
                            let sum = sums[c][r][i][p];
                            sums[c][r][i][p] = sum_with_products(sum, weight_of_co[i], x[p]);
                        }
                    }
                }
            }
        }

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
    let first_group = co_block * i32(CO_GROUPS);
    let relu = vec4<bool>(geometry.relu != 0);
    for (var c = 0u; c < CO_GROUPS; c++) {
        let co_group = first_group + i32(c);
        for (var p = 0u; p < PX_GROUPS; p++) {
            let px = first_px + i32(p * LANES);
            let texel = folded(FOLD_WIDTH + (problem * geometry.out_groups + co_group) * geometry.out_pixels + px);
            var y: vec4<f32>;
            for (var r = 0u; r < ROUNDS; r++) {
                for (var i = 0u; i < CO_AT_ONCE; i++) {
                    y[r * CO_AT_ONCE + i] = sums[c][r][i][p];
                }
            }
            if (co_group < geometry.out_groups && px < geometry.out_pixels) {
                if (RESIDUAL == 1u) {
                    y += textureLoad(residual, texel);
                } else if (RESIDUAL == 2u) {
                    y += textureLoad(output, texel);
                }
                textureStore(output, texel, narrowed(select(y, vec4<f32>(), (y < vec4<f32>()) & vec4<bool>(relu))));
            }
        }
    }
}
