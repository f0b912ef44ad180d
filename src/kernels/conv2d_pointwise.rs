//! 1×1 convolution as a matrix product: half of the arithmetic of ResNet-50.

use super::conv2d::{BINDINGS, Geometry, Tile};
use super::{Kernel, Launch};

/// `shaders/conv2d_pointwise.wgsl`.
pub static KERNEL: Kernel = Kernel {
    name: "conv2d_pointwise",
    source: include_str!("../../shaders/conv2d_pointwise.wgsl"),
    bindings: BINDINGS,
};

/// One launch: `[ceil(N·OUT_H·OUT_W / TILE_PX), ceil(OUT_C / TILE_CO), 1]` workgroups.
pub fn launch(geometry: &Geometry, tile: Tile) -> Launch {
    geometry.tiled_launch(&KERNEL, tile)
}
