//! Transforms tiles of an image into the components of a Winograd convolution, on buffers.

use super::conv2d::Geometry;
use super::winograd::OutTile;
use super::{Kernel, Launch, grid_stride, number, read, write};

/// `shaders/winograd_input.wgsl`.
pub static KERNEL: Kernel = Kernel {
    name: "winograd_input",
    source: include_str!("../../shaders/winograd_input.wgsl"),
    bindings: &[read("input"), write("output")],
};

/// Threads of a workgroup, as in the shader.
pub const THREADS: usize = 64;

/// One launch: twice a grid-stride loop over channel groups × tiles, once for each half of the
/// components.
pub fn launch(geometry: &Geometry, out_tile: OutTile) -> Launch {
    let input = geometry.input;
    let [tiles_h, tiles_w] = out_tile.tiles(geometry.output);
    let tiles = input.n * tiles_h * tiles_w;
    let ([x, y, z], stride) = grid_stride(input.channel_groups() * tiles, THREADS);
    Launch {
        overrides: vec![
            ("IN_GROUPS", number(input.channel_groups())),
            ("IN_H", number(input.h)),
            ("IN_W", number(input.w)),
            ("IN_PIXELS", number(input.pixels())),
            ("TILES_H", number(tiles_h)),
            ("TILES_W", number(tiles_w)),
            ("TILES", number(tiles)),
            ("PAD_TOP", number(geometry.padding.top)),
            ("PAD_LEFT", number(geometry.padding.left)),
            stride,
        ],
        tile: vec![out_tile.constant()],
        ..Launch::new(&KERNEL, THREADS, [2 * x, y, z])
    }
}
