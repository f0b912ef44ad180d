//! Convolution of any kernel size as an implicit matrix product over tiles in workgroup memory.

use super::conv2d::{BINDINGS, Geometry, Tile};
use super::{Kernel, Launch};

/// `shaders/conv2d_tiled.wgsl`.
pub static KERNEL: Kernel = Kernel {
    name: "conv2d_tiled",
    source: include_str!("../../shaders/conv2d_tiled.wgsl"),
    bindings: BINDINGS,
};

/// One launch: `[ceil(N·OUT_H·OUT_W / TILE_PX), ceil(OUT_C / TILE_CO), 1]` workgroups.
pub fn launch(geometry: &Geometry, tile: Tile) -> Launch {
    let mut launch = geometry.tiled_launch(&KERNEL, tile);
    launch.overrides.extend(geometry.window_overrides());
    launch
}
