//! Convolution of any kernel size as an implicit matrix product over tiles in workgroup memory; it
//! does most of the arithmetic of a network on buffers.

use super::conv2d::{BINDINGS, Geometry, Tile};
use super::{Kernel, Launch, Precision, conv2d_tiled_f16, flag, number};

/// `shaders/conv2d_tiled.wgsl`.
pub static KERNEL: Kernel = Kernel {
    name: "conv2d_tiled",
    source: include_str!("../../shaders/conv2d_tiled.wgsl"),
    threads: 64,
    bindings: BINDINGS,
};

/// The part of a convolution that a launch computes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Part {
    /// The whole convolution.
    Whole,
    /// Sums over this many slices of the reduction, for `conv2d_reduce` to finish.
    Slices(usize),
    /// The products of this many problems of the same geometry, without epilogue.
    Problems(usize),
}

/// One launch: `[ceil(N·OUT_H·OUT_W / TILE_PX), ceil(OUT_C / TILE_CO), problems · slices]`
/// workgroups.
pub fn launch(geometry: &Geometry, tile: Tile, part: Part) -> Launch {
    let (slices, layers) = match part {
        Part::Whole => (1, 1),
        Part::Slices(slices) => (slices, slices),
        Part::Problems(problems) => (1, problems),
    };
    let kernel = match tile.arithmetic {
        Precision::F32 => &KERNEL,
        Precision::F16 => &conv2d_tiled_f16::KERNEL,
    };
    let [x, y] = tile.workgroups(geometry);
    let mut overrides = geometry.overrides();
    overrides.extend(geometry.window_overrides());
    overrides.extend(geometry.projection_overrides());
    overrides.extend([
        ("IN_GROUPS", number(geometry.input.channel_groups())),
        ("SLICES", number(slices)),
        ("FINISH", flag(part == Part::Whole)),
    ]);
    Launch {
        overrides,
        tile: [tile.constants(), geometry.constants()].concat(),
        threads: tile.threads() as usize,
        ..Launch::new(kernel, [x, y, layers as u64])
    }
}
