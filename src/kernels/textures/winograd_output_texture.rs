//! Transforms the components of a Winograd convolution back into an image, with residual and ReLU.

use crate::kernels::conv2d::Geometry;
use crate::kernels::winograd::OutTile;
use crate::kernels::{Kernel, Launch, grid_stride, immediate, load, stride_threads, update};

/// `shaders/textures/winograd_output_texture.wgsl`.
pub static KERNEL: Kernel = Kernel {
    name: "winograd_output_texture",
    source: include_str!("../../../shaders/textures/winograd_output_texture.wgsl"),
    bindings: &[load("input"), load("residual"), update("output")],
};

/// Threads of a workgroup, as in the shader.
pub const THREADS: usize = 64;

/// One launch: a grid-stride loop over channel groups × tiles.
pub fn launch(geometry: &Geometry, out_tile: OutTile) -> Launch {
    let output = geometry.output;
    let [tiles_h, tiles_w] = out_tile.tiles(output);
    let tiles = output.n * tiles_h * tiles_w;
    let (workgroups, _) = grid_stride(output.channel_groups() * tiles, THREADS);
    Launch {
        overrides: vec![("RESIDUAL", geometry.residual.constant())],
        tile: vec![out_tile.constant()],
        immediates: vec![
            ("out_groups", immediate(output.channel_groups())),
            ("out_h", immediate(output.h)),
            ("out_w", immediate(output.w)),
            ("out_pixels", immediate(output.pixels())),
            ("tiles_h", immediate(tiles_h)),
            ("tiles_w", immediate(tiles_w)),
            ("tiles", immediate(tiles)),
            ("relu", i32::from(geometry.relu)),
            ("stride_threads", stride_threads(workgroups, THREADS)),
        ],
        ..Launch::new(&KERNEL, THREADS, workgroups)
    }
}
