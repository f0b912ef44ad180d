//! Mean over a sliding window.

use super::max_pool::window_launch;
use super::{Kernel, Launch, flag, read, write};
use crate::graph::Window;
use crate::tensor::Shape;

/// `shaders/avg_pool.wgsl`.
pub static KERNEL: Kernel = Kernel {
    name: "avg_pool",
    source: include_str!("../../shaders/avg_pool.wgsl"),
    threads: 256,
    bindings: &[read("input"), write("output")],
};

/// One launch: a grid-stride loop over channel groups × output pixels.
pub fn launch(input: Shape, output: Shape, window: &Window, count_padding: bool) -> Launch {
    let count = ("COUNT_PADDING", flag(count_padding));
    window_launch(&KERNEL, input, output, window, count)
}
