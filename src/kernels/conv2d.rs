//! Shared by the convolution kernels: geometry, tile sizes and the layout of weights.

use std::fmt;

use super::packing::Source;
use super::{Binding, Packing, Precision, Storage, flag, number, read, read_single, write};
use crate::graph::Padding;
use crate::tensor::{LANES, Shape, Tensor};

/// The buffers of every convolution kernel.
pub const BINDINGS: &[Binding] = &[
    read("input"),
    read("weight"),
    read_single("bias"),
    read("residual"),
    write("output"),
];

/// Where the residual is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Residual {
    /// There is none.
    None,
    /// In its own buffer or texture.
    Buffer,
    /// In the buffer of the output, which replaces it element by element.
    InPlace,
    /// It is in no buffer: it is a projection, which the reduction includes.
    Folded,
}

impl Residual {
    /// The value of `RESIDUAL` in the shaders.
    pub(super) const fn constant(self) -> f64 {
        match self {
            Self::None => 0.0,
            Self::Buffer => 1.0,
            Self::InPlace => 2.0,
            Self::Folded => 3.0,
        }
    }
}

/// A 1×1 convolution of another value, whose result is the residual of a convolution: the shortcut of a block that
/// changes the shape (He et al. 2016, "Deep residual learning for image recognition", equation 2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Projection {
    /// The shape of its input.
    pub input: Shape,
    /// Vertical and horizontal stride.
    pub stride: [usize; 2],
}

/// The geometry of one convolution.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Geometry {
    /// The shape of the input.
    pub input: Shape,
    /// The shape of the output.
    pub output: Shape,
    /// Height and width of the kernel.
    pub kernel: [usize; 2],
    /// Vertical and horizontal stride.
    pub stride: [usize; 2],
    /// Zeros around the input.
    pub padding: Padding,
    /// Vertical and horizontal dilation.
    pub dilation: [usize; 2],
    /// The number of channel groups.
    pub groups: usize,
    /// Whether the epilogue applies a ReLU.
    pub relu: bool,
    /// Where the epilogue reads the residual.
    pub residual: Residual,
    /// The projection whose result is the residual, if both are 1×1 convolutions that may be one.
    pub projection: Option<Projection>,
}

impl Geometry {
    /// The geometry of both as one 1×1 convolution, with the channels of one input behind those of the other; `None`
    /// if there is no projection.
    pub fn folded(&self) -> Option<Self> {
        self.projection.map(|_| Self {
            residual: Residual::Folded,
            ..*self
        })
    }

    /// The projection that the reduction includes.
    fn included(&self) -> Option<Projection> {
        self.projection
            .filter(|_| self.residual == Residual::Folded)
    }

    /// The length of the reduction of a kernel on buffers: channels padded to whole vectors, times taps.
    fn products(&self) -> usize {
        let taps = self.kernel[0] * self.kernel[1];
        let included = self
            .included()
            .map_or(0, |projection| padded(projection.input.c));
        taps * padded(self.input.c) + included
    }

    /// Whether each output pixel reads exactly one input pixel, and no padding.
    pub fn is_pointwise(&self) -> bool {
        self.kernel == [1, 1] && self.padding == Padding::all(0) && self.groups == 1
    }

    /// The values of the overrides that all convolution kernels have.
    pub(super) fn overrides(&self) -> Vec<(&'static str, f64)> {
        vec![
            ("IN_H", number(self.input.h)),
            ("IN_W", number(self.input.w)),
            ("IN_PIXELS", number(self.input.pixels())),
            ("OUT_GROUPS", number(self.output.channel_groups())),
            ("OUT_H", number(self.output.h)),
            ("OUT_W", number(self.output.w)),
            ("OUT_PIXELS", number(self.output.pixels())),
            ("STRIDE_H", number(self.stride[0])),
            ("STRIDE_W", number(self.stride[1])),
            ("RELU", flag(self.relu)),
            ("RESIDUAL", self.residual.constant()),
        ]
    }

    /// The values of the overrides that describe a projection that the reduction includes.
    pub(super) fn projection_overrides(&self) -> [(&'static str, f64); 6] {
        let none = Projection {
            input: Shape::new(0, 0, 0, 0),
            stride: [0; 2],
        };
        let Projection { input, stride } = self.included().unwrap_or(none);
        [
            ("PROJECTED_GROUPS", number(input.channel_groups())),
            ("PROJECTED_PIXELS", number(input.pixels())),
            ("PROJECTED_H", number(input.h)),
            ("PROJECTED_W", number(input.w)),
            ("PROJECTED_STRIDE_H", number(stride[0])),
            ("PROJECTED_STRIDE_W", number(stride[1])),
        ]
    }

    /// Values that replace constants in the shaders: only those of a dilated kernel, so that others
    /// share their pipelines.
    pub(super) fn constants(&self) -> Vec<(&'static str, u32)> {
        let names = ["DILATION_H", "DILATION_W"].into_iter();
        let named = names.zip(self.dilation.map(|d| u32::try_from(d).unwrap_or(u32::MAX)));
        named.filter(|&(_, dilation)| dilation != 1).collect()
    }

    /// The values of the overrides that describe the window.
    pub(super) fn window_overrides(&self) -> [(&'static str, f64); 4] {
        [
            ("KERNEL_H", number(self.kernel[0])),
            ("KERNEL_W", number(self.kernel[1])),
            ("PAD_TOP", number(self.padding.top)),
            ("PAD_LEFT", number(self.padding.left)),
        ]
    }
}

/// The tile of the tiled kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Tile {
    /// Output pixels per workgroup.
    pub px: u32,
    /// Output channels per workgroup.
    pub co: u32,
    /// Input channels (times taps) per step of the reduction.
    pub k: u32,
    /// Output pixels per thread.
    pub per_thread_px: u32,
    /// Output channels per thread.
    pub per_thread_co: u32,
    /// The precision of the products and sums within a step; steps are summed in single precision.
    pub arithmetic: Precision,
}

impl Tile {
    /// Threads per workgroup.
    pub const fn threads(&self) -> u32 {
        (self.px / self.per_thread_px) * (self.co / self.per_thread_co)
    }

    /// The number of workgroups along x and y.
    pub const fn workgroups(&self, geometry: &Geometry) -> [u64; 2] {
        [
            // x: tiles of output pixels of the whole batch
            geometry.output.pixels().div_ceil(self.px as usize) as u64,
            // y: tiles of output channels
            geometry.output.c.div_ceil(self.co as usize) as u64,
        ]
    }

    /// The number of scalars in the packed weights.
    pub fn weights_len(&self, geometry: &Geometry) -> usize {
        len_of_rows(geometry.output.c, geometry.products(), *self)
    }

    /// The number of steps of the reduction.
    pub fn k_steps(&self, geometry: &Geometry) -> usize {
        geometry.products().div_ceil(self.k as usize)
    }

    pub(super) fn constants(&self) -> Vec<(&'static str, u32)> {
        vec![
            ("TILE_PX", self.px),
            ("TILE_CO", self.co),
            ("TILE_K", self.k),
            ("PER_THREAD_PX", self.per_thread_px),
            ("PER_THREAD_CO", self.per_thread_co),
        ]
    }
}

impl fmt::Display for Tile {
    /// Writes pixels × output channels × step, then pixels × output channels per thread.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            px,
            co,
            k,
            per_thread_px,
            per_thread_co,
            arithmetic,
        } = self;
        write!(f, "{px}x{co}x{k}-{per_thread_px}x{per_thread_co}")?;
        match arithmetic {
            Precision::F32 => Ok(()),
            Precision::F16 => write!(f, "-{arithmetic}"),
        }
    }
}

/// Channels in whole vectors.
const fn padded(channels: usize) -> usize {
    channels.next_multiple_of(LANES)
}

/// The number of scalars in a packed weight matrix of the tiled kernel: outputs in whole tiles, times taps × input
/// channels, padded to whole vectors and to `TILE_K`.
pub(super) fn tiles_len([out_c, in_c, taps]: [usize; 3], tile: Tile) -> usize {
    len_of_rows(out_c, taps * padded(in_c), tile)
}

/// The same for a reduction of some length.
const fn len_of_rows(out_c: usize, products: usize, tile: Tile) -> usize {
    products.next_multiple_of(tile.k as usize) * out_c.next_multiple_of(tile.co as usize)
}

/// The weights of the tiled kernel, see [`pack_tiles`].
pub(crate) fn tiles(weight: &Tensor, tile: Tile) -> Packing {
    let [out_c, in_c, taps] = out_in_taps(weight);
    let len = tiles_len([out_c, in_c, taps], tile);
    // The length tells how far the reduction is padded.
    let source = Source::new(format!("tiles of {} outputs", tile.co), [weight]);
    Packing::in_blocks(
        source,
        Storage::Buffer,
        len,
        tile.co as usize,
        move |_, weight| pack_tiles(weight, [in_c, taps], tile),
    )
}

/// The weights of a 1×1 convolution and, behind them, those of the projection that its reduction includes.
pub(crate) fn tiles_of_both([weight, projection]: [&Tensor; 2], tile: Tile) -> Packing {
    let [[out_c, in_c, _], [_, other_c, _]] = [weight, projection].map(out_in_taps);
    let len = len_of_rows(out_c, padded(in_c) + padded(other_c), tile);
    let order = format!("tiles of {} outputs, {in_c} inputs first", tile.co);
    let source = Source::new(order, [weight, projection]);
    let projection = projection.clone();
    let co = tile.co as usize;
    Packing::in_blocks(source, Storage::Buffer, len, co, move |first, weight| {
        let outputs = weight.len() / in_c;
        let projection = projection.slices(first..first + outputs);
        let products = padded(in_c) + padded(other_c);
        let mut packed = vec![0.0; len_of_rows(outputs, products, tile)];
        put_tiles(&mut packed, weight, [in_c, 1], [0, products], tile);
        let from = padded(in_c);
        put_tiles(
            &mut packed,
            &projection,
            [other_c, 1],
            [from, products],
            tile,
        );
        packed
    })
}

/// Output channels, input channels and taps of OIHW or `[out, in]` weights.
pub(super) fn out_in_taps(weight: &Tensor) -> [usize; 3] {
    let [out_c, in_c, window @ ..] = weight.dims() else {
        unreachable!("the graph has checked that the weight has outputs and inputs");
    };
    [*out_c, *in_c, window.iter().product()]
}

/// Reorders OIHW weights of some outputs to `[co block][(ky, kx, ci)][TILE_CO]`: each step of each
/// workgroup reads one contiguous run, and the shader needs no edge tests.
pub(super) fn pack_tiles(weight: &[f32], [in_c, taps]: [usize; 2], tile: Tile) -> Vec<f32> {
    let outputs = weight.len() / (in_c * taps);
    let mut packed = vec![0.0; tiles_len([outputs, in_c, taps], tile)];
    put_tiles(
        &mut packed,
        weight,
        [in_c, taps],
        [0, taps * padded(in_c)],
        tile,
    );
    packed
}

/// Puts the weights in their places in the tiles of reductions of some length, from a row of them on.
fn put_tiles(
    packed: &mut [f32],
    weight: &[f32],
    [in_c, taps]: [usize; 2],
    [from, products]: [usize; 2],
    tile: Tile,
) {
    let tile_co = tile.co as usize;
    let k_len = products.next_multiple_of(tile.k as usize);
    for (co, row) in weight.chunks_exact(in_c * taps).enumerate() {
        let first = (co / tile_co * k_len + from) * tile_co + co % tile_co;
        for (ci, channel) in row.chunks_exact(taps).enumerate() {
            for (tap, &value) in channel.iter().enumerate() {
                packed[first + (tap * padded(in_c) + ci) * tile_co] = value;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_are_the_packed_weights() {
        let tile = Tile {
            px: 8,
            co: 16,
            k: 8,
            per_thread_px: 4,
            per_thread_co: 4,
            arithmetic: Precision::F32,
        };
        let weight = Tensor::from_fn(&[70, 2311, 1, 3], |i| (i % 1013) as f32 - 500.0);
        let packing = tiles(&weight, tile);
        assert!(packing.pieces().count() > 1, "pieces");
        assert!(packing.scalars() == pack_tiles(weight.data(), [2311, 3], tile));
        // One behind the other, each padded to whole vectors.
        let matrix = |in_c: usize, seed: usize| {
            Tensor::from_fn(&[70, in_c, 1, 1], |i| ((i + seed) % 1013) as f32 - 500.0)
        };
        let [first, second] = [matrix(3001, 0), matrix(2002, 7)];
        let packing = tiles_of_both([&first, &second], tile);
        assert!(packing.pieces().count() > 1, "pieces");
        let both = Tensor::from_fn(&[70, 3004 + 2002, 1, 1], |i| {
            let (co, ci) = (i / 5006, i % 5006);
            match ci {
                0..3001 => first.data()[co * 3001 + ci],
                3001..3004 => 0.0,
                _ => second.data()[co * 2002 + ci - 3004],
            }
        });
        assert!(packing.scalars() == pack_tiles(both.data(), [5006, 1], tile));
    }

    #[test]
    fn tiles_put_the_output_channels_of_one_tap_and_input_channel_side_by_side() {
        let tile = Tile {
            px: 8,
            co: 4,
            k: 4,
            per_thread_px: 4,
            per_thread_co: 4,
            arithmetic: Precision::F32,
        };
        // w[co, ci, 0, kx] = 100·co + 10·ci + kx; five outputs, two inputs, 1×2 taps.
        let weight = Tensor::from_fn(&[5, 2, 1, 2], |i| {
            let (co, ci, kx) = (i / 4, i / 2 % 2, i % 2);
            f32::from(u16::try_from(100 * co + 10 * ci + kx).unwrap())
        });
        let packed = pack_tiles(weight.data(), [2, 2], tile);
        assert_eq!(
            packed.len(),
            2 * 8 * 4,
            "two blocks of K = 2 taps × 4 lanes"
        );
        assert_eq!(packed[..4], [0.0, 100.0, 200.0, 300.0], "tap 0, channel 0");
        assert_eq!(
            packed[4..8],
            [10.0, 110.0, 210.0, 310.0],
            "tap 0, channel 1"
        );
        assert_eq!(packed[8..16], [0.0; 8], "channels 2 and 3 do not exist");
        assert_eq!(
            packed[16..20],
            [1.0, 101.0, 201.0, 301.0],
            "tap 1, channel 0"
        );
        assert_eq!(
            packed[32..36],
            [400.0, 0.0, 0.0, 0.0],
            "second block has one output"
        );
    }
}
