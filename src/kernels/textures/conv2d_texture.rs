//! Convolution on folded textures: one subgroup per tile, weights passed around by shuffles, and
//! geometry in immediates, so that a network needs only a handful of pipelines.

use std::fmt;

use super::conv2d_quad;
use crate::kernels::conv2d::{Geometry, out_in_taps};
use crate::kernels::packing::Source;
use crate::kernels::{Kernel, Launch, Packing, Storage, flag, immediate, load, update};
use crate::tensor::{LANES, Tensor};

/// `shaders/textures/conv2d_texture.wgsl`.
pub static KERNEL: Kernel = Kernel {
    name: "conv2d_texture",
    source: include_str!("../../../shaders/textures/conv2d_texture.wgsl"),
    threads: 8,
    bindings: &[
        load("input"),
        load("weight"),
        load("residual"),
        update("output"),
    ],
};

/// The supported subgroup sizes. With four lanes, [`conv2d_quad`] runs instead.
pub const SUBGROUPS: [u32; 3] = [conv2d_quad::LANES, 8, 16];

/// The size of the kernel's immediates in bytes, the largest of all kernels.
pub const IMMEDIATE_BYTES: u64 = 60;

/// The tile geometry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Tile {
    /// Output channels per workgroup: a multiple of the lanes, at most four times as many.
    pub co: u32,
    /// Groups of output pixels per workgroup, each with one pixel per lane.
    pub px_groups: u32,
    /// Lanes per subgroup, and threads per workgroup: one of [`SUBGROUPS`].
    pub lanes: u32,
    /// Whether products are added by `fma`: only where the device has that as one instruction.
    pub fused: bool,
}

impl Tile {
    /// The number of output channels whose weights are in registers together: AVX-512, which has
    /// sixteen lanes, has registers for those of four.
    const fn outputs_at_once(&self) -> u32 {
        if self.lanes < 16 { 1 } else { 4 }
    }

    /// The number of workgroups along x and y.
    pub fn workgroups(&self, geometry: &Geometry) -> [u64; 2] {
        let px = u64::from(self.px_groups * self.lanes);
        [
            // x: tiles of output pixels of the whole batch
            (geometry.output.pixels() as u64).div_ceil(px),
            // y: tiles of output channels
            (geometry.output.c as u64).div_ceil(self.co.into()),
        ]
    }
}

impl fmt::Display for Tile {
    /// Writes output channels × groups of pixels; the device determines all else.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}x{}", self.co, self.px_groups)
    }
}

/// One launch: `[ceil(N·OUT_H·OUT_W / (PX_GROUPS·LANES)), ceil(OUT_C / TILE_CO), 1]` workgroups.
pub fn launch(geometry: &Geometry, tile: Tile) -> Launch {
    let taps = ("TAP_CHANNELS", tap_channels(geometry.input.c));
    let mut overrides = vec![
        ("POINTWISE", flag(reads_its_own_pixels(geometry))),
        ("RESIDUAL", geometry.residual.constant()),
    ];
    let (kernel, mut constants) = if tile == conv2d_quad::TILE {
        (&conv2d_quad::KERNEL, vec![taps])
    } else {
        overrides.push(("FUSED", flag(tile.fused)));
        let tile = [
            ("TILE_CO", tile.co),
            ("PX_GROUPS", tile.px_groups),
            ("LANES", tile.lanes),
            ("CO_AT_ONCE", tile.outputs_at_once()),
        ];
        (&KERNEL, [&tile[..], &[taps]].concat())
    };
    constants.extend(geometry.constants());
    let [x, y] = tile.workgroups(geometry);
    Launch {
        overrides,
        tile: constants,
        immediates: immediates(geometry),
        threads: tile.lanes as usize,
        ..Launch::new(kernel, [x, y, 1])
    }
}

fn immediates(geometry: &Geometry) -> Vec<(&'static str, i32)> {
    let Geometry {
        input,
        output,
        kernel,
        stride,
        padding,
        dilation,
        ..
    } = *geometry;
    let taps = kernel[0] * kernel[1];
    vec![
        ("in_groups", immediate(input.channel_groups())),
        ("in_h", immediate(input.h)),
        ("in_w", immediate(input.w)),
        ("in_pixels", immediate(input.pixels())),
        ("out_groups", immediate(output.channel_groups())),
        ("out_h", immediate(output.h)),
        ("out_w", immediate(output.w)),
        ("out_pixels", immediate(output.pixels())),
        ("kernel_w", immediate(kernel[1].saturating_mul(dilation[1]))),
        ("stride_h", immediate(stride[0])),
        ("stride_w", immediate(stride[1])),
        ("pad_top", immediate(padding.top)),
        ("pad_left", immediate(padding.left)),
        ("steps", immediate(taps * input.channel_groups())),
        ("relu", i32::from(geometry.relu)),
    ]
}

/// Whether each output pixel reads only the input pixel with the same index.
fn reads_its_own_pixels(geometry: &Geometry) -> bool {
    geometry.is_pointwise() && geometry.stride == [1, 1]
}

/// The number of channels of an input texel that can be non-zero: three for images, which saves a
/// quarter of the stem.
fn tap_channels(in_c: usize) -> u32 {
    if in_c == 3 { 3 } else { 4 }
}

/// The number of texels for one block of output channels: a row of biases, then a row per tap and
/// channel group.
fn block_texels(in_c: usize, taps: usize, tile_co: usize) -> usize {
    (1 + taps * in_c.div_ceil(LANES)) * tile_co
}

/// The number of scalars in packed weights and biases.
pub(in crate::kernels) fn packed_len([out_c, in_c, taps]: [usize; 3], tile_co: usize) -> usize {
    out_c.div_ceil(tile_co) * block_texels(in_c, taps, tile_co) * LANES
}

/// Weights and biases in a texture, see [`pack`].
pub(crate) fn packing(weight: &Tensor, bias: Option<&Tensor>, tile_co: usize) -> Packing {
    let [out_c, in_c, taps] = out_in_taps(weight);
    let len = packed_len([out_c, in_c, taps], tile_co);
    let bias = bias.cloned();
    let order = format!("texels of {tile_co} outputs");
    let source = Source::new(order, std::iter::once(weight).chain(bias.as_ref()));
    Packing::in_blocks(
        source,
        Storage::Texture,
        len,
        tile_co,
        move |first, weight| {
            let bias = bias.as_ref().map(|bias| &bias.data()[first..]);
            pack(weight, [in_c, taps], bias, tile_co)
        },
    )
}

/// Reorders OIHW weights (or `[out, in]`) of some outputs to `[co block][1 + (ky, kx, ci / 4)][co %
/// TILE_CO][ci % 4]`, where row 0 of a block holds its biases, four to a texel.
pub(in crate::kernels) fn pack(
    weight: &[f32],
    [in_c, taps]: [usize; 2],
    bias: Option<&[f32]>,
    tile_co: usize,
) -> Vec<f32> {
    let block = block_texels(in_c, taps, tile_co) * LANES;
    let in_groups = in_c.div_ceil(LANES);
    let rows = weight.chunks_exact(in_c * taps);
    let mut packed = vec![0.0; packed_len([rows.len(), in_c, taps], tile_co)];
    for (co, row) in rows.enumerate() {
        let first = (co / tile_co) * block;
        if let Some(bias) = bias {
            packed[first + co % tile_co] = bias[co];
        }
        for (ci, channel) in row.chunks_exact(taps).enumerate() {
            for (tap, &value) in channel.iter().enumerate() {
                let texel = (1 + tap * in_groups + ci / LANES) * tile_co + co % tile_co;
                packed[first + texel * LANES + ci % LANES] = value;
            }
        }
    }
    packed
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_starts_with_its_biases_and_goes_on_tap_by_tap() {
        // w[co, ci, 0, kx] = 100·co + 10·ci + kx; nine outputs, five inputs, 1×2 taps.
        let code = |co: usize, ci: usize, kx: usize| (100 * co + 10 * ci + kx) as f32;
        let weight = Tensor::from_fn(&[9, 5, 1, 2], |i| code(i / 10, i / 2 % 5, i % 2));
        let bias = Tensor::from_fn(&[9], |co| co as f32 + 0.5);
        let packed = pack(weight.data(), [5, 2], Some(bias.data()), 8);
        let block = (1 + 2 * 2) * 8 * 4;
        assert_eq!(packed.len(), 2 * block, "two blocks");
        assert_eq!(packed.len(), packed_len([9, 5, 2], 8), "known in advance");
        assert_eq!(packed[..3], [0.5, 1.5, 2.5], "biases of block 0");
        assert_eq!(packed[8..32], [0.0; 24], "the rest of row 0 is not used");
        let texel = |block_ix: usize, row: usize, co: usize| {
            let at = block_ix * block + (row * 8 + co) * 4;
            packed[at..at + 4].to_vec()
        };
        let want = [code(3, 0, 0), code(3, 1, 0), code(3, 2, 0), code(3, 3, 0)];
        assert_eq!(texel(0, 1, 3), want, "tap 0, channels 0 to 3");
        assert_eq!(texel(0, 2, 3), [code(3, 4, 0), 0.0, 0.0, 0.0], "channel 4");
        assert_eq!(texel(0, 3, 0)[0], code(0, 0, 1), "tap 1");
        assert_eq!(packed[block], 8.5, "bias of block 1");
        assert_eq!(texel(1, 1, 0)[0], code(8, 0, 0), "output 8");
        assert_eq!(texel(1, 1, 1), [0.0; 4], "output 9 does not exist");
    }
}
