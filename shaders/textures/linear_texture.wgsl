// linear_texture
//
//   y[n,o] = bias[o] + Σ_i w[o,i] · x[n,i]
//
// Layout      x: folded texture, one texel = four inputs of one image   y: channel-packed scalars, one pixel per image
//             w: folded texture, [o block][1 + i group][TILE_CO]: first the biases, four to a texel, then one texel = four
//             inputs of one output; zero-padded
// Workgroup   TILE_CO outputs of one image
// Thread      one output
// Grid        [ceil(OUT / TILE_CO), N, 1]
// Memory      none
// Barriers    none
// Edges       input and output tails have zero weights and bias; outputs past the last vector are skipped
// Host        src/kernels/textures/linear_texture.rs     Reference  src/reference/linear.rs

@group(0) @binding(0) var input: texture_storage_2d<rgba32float, read>;
@group(0) @binding(1) var weight: texture_storage_2d<rgba32float, read>;
@group(0) @binding(2) var<storage, read_write> output: array<f32>;

struct Geometry {
    in_groups: u32,
    out_groups: u32,
    batch: u32,
}
var<immediate> immediates: Geometry;

const TILE_CO: u32 = 8u;

// A texture is FOLD_WIDTH texels wide; the first row of an activation is zero.
const FOLD_SHIFT: u32 = 10u;
const FOLD_WIDTH: u32 = 1u << FOLD_SHIFT;

fn folded(ix: u32) -> vec2<u32> {
    return vec2<u32>(ix & (FOLD_WIDTH - 1u), ix >> FOLD_SHIFT);
}

@compute @workgroup_size(TILE_CO)
fn main(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(local_invocation_id) local: vec3<u32>,
) {
    // Read once: inside a loop or a branch, llvmpipe turns every read of an immediate into a gather.
    let geometry = immediates;
    let n = workgroup.y;
    let first = workgroup.x * (geometry.in_groups + 1u) * TILE_CO;
    var sum = textureLoad(weight, folded(first + local.x / 4u))[local.x % 4u];
    for (var i_group = 0u; i_group < geometry.in_groups; i_group++) {
        let w = textureLoad(weight, folded(first + (i_group + 1u) * TILE_CO + local.x));
        sum += dot(w, textureLoad(input, folded(FOLD_WIDTH + i_group * geometry.batch + n)));
    }
    let o = workgroup.x * TILE_CO + local.x;
    if (o < geometry.out_groups * 4u) {
        output[(o / 4u * geometry.batch + n) * 4u + o % 4u] = sum;
    }
}
