//! Transforms tiles of an image into the components of a Winograd convolution.

use crate::kernels::conv2d::Geometry;
use crate::kernels::winograd::OutTile;
use crate::kernels::{Kernel, Launch, grid_stride, immediate, load, store, stride_threads};

/// `shaders/textures/winograd_input_texture.wgsl`.
pub static KERNEL: Kernel = Kernel {
    name: "winograd_input_texture",
    source: include_str!("../../../shaders/textures/winograd_input_texture.wgsl"),
    bindings: &[load("input"), store("output")],
};

/// Threads of a workgroup, as in the shader.
pub const THREADS: usize = 64;

/// One launch: a grid-stride loop over channel groups × tiles.
pub fn launch(geometry: &Geometry, out_tile: OutTile) -> Launch {
    let input = geometry.input;
    let [tiles_h, tiles_w] = out_tile.tiles(geometry.output);
    let tiles = input.n * tiles_h * tiles_w;
    let (workgroups, _) = grid_stride(input.channel_groups() * tiles, THREADS);
    Launch {
        tile: vec![out_tile.constant()],
        immediates: vec![
            ("in_groups", immediate(input.channel_groups())),
            ("in_h", immediate(input.h)),
            ("in_w", immediate(input.w)),
            ("in_pixels", immediate(input.pixels())),
            ("tiles_h", immediate(tiles_h)),
            ("tiles_w", immediate(tiles_w)),
            ("tiles", immediate(tiles)),
            ("pad_top", immediate(geometry.padding.top)),
            ("pad_left", immediate(geometry.padding.left)),
            ("stride_threads", stride_threads(workgroups, THREADS)),
        ],
        ..Launch::new(&KERNEL, THREADS, workgroups)
    }
}
