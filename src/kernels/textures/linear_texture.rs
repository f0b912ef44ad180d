//! `y = W·x + b` with the weights in a texture, one output per lane.

use crate::kernels::{Kernel, Launch, grid, immediate, load, write_single};
use crate::tensor::Shape;

/// `shaders/textures/linear_texture.wgsl`.
pub static KERNEL: Kernel = Kernel {
    name: "linear_texture",
    source: include_str!("../../../shaders/textures/linear_texture.wgsl"),
    threads: TILE_CO,
    bindings: &[load("input"), load("weight"), write_single("output")],
};

/// Outputs per workgroup, and threads per workgroup, as in the shader.
pub const TILE_CO: usize = 8;

/// One launch: x: blocks of outputs, y: images.
pub fn launch(input: Shape, output: Shape) -> Launch {
    Launch {
        immediates: vec![
            ("in_groups", immediate(input.channel_groups())),
            ("out_groups", immediate(output.channel_groups())),
            ("batch", immediate(input.n)),
        ],
        ..Launch::new(&KERNEL, grid(output.c.div_ceil(TILE_CO), output.n))
    }
}
