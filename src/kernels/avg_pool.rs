//! Mean over a sliding window.

use super::max_pool::window_launch;
use super::{Kernel, Launch, flag, read, write};
use crate::graph::Window;
use crate::tensor::Shape;

/// `shaders/avg_pool.wgsl`.
pub static KERNEL: Kernel = Kernel {
    name: "avg_pool",
    source: include_str!("../../shaders/avg_pool.wgsl"),
    bindings: &[read("input"), write("output")],
};

/// Threads of a workgroup, as in the shader.
pub const THREADS: usize = super::max_pool::THREADS;

/// One launch: a grid-stride loop over channel groups × output pixels.
pub fn launch(input: Shape, output: Shape, window: &Window, count_padding: bool) -> Launch {
    let count = ("COUNT_PADDING", flag(count_padding));
    window_launch(&KERNEL, input, output, window, count)
}
