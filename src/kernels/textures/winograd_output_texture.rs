//! Transforms the components of a Winograd convolution back into an image, with residual and ReLU.

use crate::kernels::conv2d::Geometry;
use crate::kernels::winograd::OutTile;
use crate::kernels::{Kernel, Launch, load, update};

/// `shaders/textures/winograd_output_texture.wgsl`.
pub static KERNEL: Kernel = Kernel {
    name: "winograd_output_texture",
    source: include_str!("../../../shaders/textures/winograd_output_texture.wgsl"),
    threads: 64,
    bindings: &[load("input"), load("residual"), update("output")],
};

/// One launch: a grid-stride loop over channel groups × tiles.
pub fn launch(geometry: &Geometry, out_tile: OutTile) -> Launch {
    let output = geometry.output;
    let [tiles_h, tiles_w] = out_tile.tiles(output);
    let tiles = output.n * tiles_h * tiles_w;
    let sizes = [
        ("out_groups", output.channel_groups()),
        ("out_h", output.h),
        ("out_w", output.w),
        ("out_pixels", output.pixels()),
        ("tiles_h", tiles_h),
        ("tiles_w", tiles_w),
        ("tiles", tiles),
        ("relu", geometry.relu.into()),
    ];
    Launch {
        overrides: vec![("RESIDUAL", geometry.residual.constant())],
        tile: vec![out_tile.constant()],
        ..Launch::over_sized(&KERNEL, output.channel_groups() * tiles, sizes)
    }
}
