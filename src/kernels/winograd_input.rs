//! Transforms tiles of an image into the components of a Winograd convolution, on buffers.

use super::conv2d::Geometry;
use super::winograd::OutTile;
use super::{Kernel, Launch, number, read, write};

/// `shaders/winograd_input.wgsl`.
pub static KERNEL: Kernel = Kernel {
    name: "winograd_input",
    source: include_str!("../../shaders/winograd_input.wgsl"),
    threads: 64,
    bindings: &[read("input"), write("output")],
};

/// One launch: twice a grid-stride loop over channel groups × tiles, once for each half of the
/// components.
pub fn launch(geometry: &Geometry, out_tile: OutTile) -> Launch {
    let input = geometry.input;
    let [tiles_h, tiles_w] = out_tile.tiles(geometry.output);
    let tiles = input.n * tiles_h * tiles_w;
    let overrides = [
        ("IN_GROUPS", number(input.channel_groups())),
        ("IN_H", number(input.h)),
        ("IN_W", number(input.w)),
        ("IN_PIXELS", number(input.pixels())),
        ("TILES_H", number(tiles_h)),
        ("TILES_W", number(tiles_w)),
        ("TILES", number(tiles)),
        ("PAD_TOP", number(geometry.padding.top)),
        ("PAD_LEFT", number(geometry.padding.left)),
    ];
    let mut launch = Launch::over(&KERNEL, input.channel_groups() * tiles, overrides);
    launch.tile = vec![out_tile.constant()];
    launch.workgroups[0] *= 2;
    launch
}
