//! Mean over a sliding window, on textures.

use super::max_pool_texture::window_launch;
use super::{Kernel, Launch, load, store};
use crate::graph::Window;
use crate::tensor::Shape;

/// `shaders/avg_pool_texture.wgsl`.
pub static KERNEL: Kernel = Kernel {
    name: "avg_pool_texture",
    source: include_str!("../../shaders/avg_pool_texture.wgsl"),
    bindings: &[load("input"), store("output")],
};

/// Threads of a workgroup, as in the shader.
pub const THREADS: usize = super::max_pool_texture::THREADS;

/// One launch: a grid-stride loop over channel groups × output pixels.
pub fn launch(input: Shape, output: Shape, window: &Window, count_padding: bool) -> Launch {
    let count = ("count_padding", i32::from(count_padding));
    window_launch(&KERNEL, input, output, window, count)
}
