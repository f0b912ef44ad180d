//! Transforms the components of a Winograd convolution back into an image, with bias, residual and
//! ReLU, on buffers.

use super::conv2d::Geometry;
use super::winograd::OutTile;
use super::{Kernel, Launch, flag, number, read, read_single, write};

/// `shaders/winograd_output.wgsl`.
pub static KERNEL: Kernel = Kernel {
    name: "winograd_output",
    source: include_str!("../../shaders/winograd_output.wgsl"),
    threads: 64,
    bindings: &[
        read("input"),
        read_single("bias"),
        read("residual"),
        write("output"),
    ],
};

/// One launch: a grid-stride loop over channel groups × tiles.
pub fn launch(geometry: &Geometry, out_tile: OutTile) -> Launch {
    let output = geometry.output;
    let [tiles_h, tiles_w] = out_tile.tiles(output);
    let tiles = output.n * tiles_h * tiles_w;
    let overrides = [
        ("OUT_GROUPS", number(output.channel_groups())),
        ("OUT_H", number(output.h)),
        ("OUT_W", number(output.w)),
        ("OUT_PIXELS", number(output.pixels())),
        ("TILES_H", number(tiles_h)),
        ("TILES_W", number(tiles_w)),
        ("TILES", number(tiles)),
        ("RELU", flag(geometry.relu)),
        ("RESIDUAL", geometry.residual.constant()),
    ];
    Launch {
        tile: vec![out_tile.constant()],
        ..Launch::over(&KERNEL, output.channel_groups() * tiles, overrides)
    }
}
