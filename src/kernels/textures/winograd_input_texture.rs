//! Transforms tiles of an image into the components of a Winograd convolution.

use crate::kernels::conv2d::Geometry;
use crate::kernels::winograd::OutTile;
use crate::kernels::{Kernel, Launch, load, store};

/// `shaders/textures/winograd_input_texture.wgsl`.
pub static KERNEL: Kernel = Kernel {
    name: "winograd_input_texture",
    source: include_str!("../../../shaders/textures/winograd_input_texture.wgsl"),
    threads: 64,
    bindings: &[load("input"), store("output")],
};

/// One launch: a grid-stride loop over channel groups × tiles.
pub fn launch(geometry: &Geometry, out_tile: OutTile) -> Launch {
    let input = geometry.input;
    let [tiles_h, tiles_w] = out_tile.tiles(geometry.output);
    let tiles = input.n * tiles_h * tiles_w;
    let sizes = [
        ("in_groups", input.channel_groups()),
        ("in_h", input.h),
        ("in_w", input.w),
        ("in_pixels", input.pixels()),
        ("tiles_h", tiles_h),
        ("tiles_w", tiles_w),
        ("tiles", tiles),
        ("pad_top", geometry.padding.top),
        ("pad_left", geometry.padding.left),
    ];
    Launch {
        tile: vec![out_tile.constant()],
        ..Launch::over_sized(&KERNEL, input.channel_groups() * tiles, sizes)
    }
}
