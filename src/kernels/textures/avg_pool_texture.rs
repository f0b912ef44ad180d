//! Mean over a sliding window, on textures.

use crate::graph::Window;
use crate::kernels::{Kernel, Launch, avg_pool, load, store};
use crate::tensor::Shape;

/// `shaders/textures/avg_pool_texture.wgsl`.
pub static KERNEL: Kernel = Kernel {
    name: "avg_pool_texture",
    source: include_str!("../../../shaders/textures/avg_pool_texture.wgsl"),
    threads: 256,
    bindings: &[load("input"), store("output")],
};

/// One launch: a grid-stride loop over channel groups × output pixels.
pub fn launch(input: Shape, output: Shape, window: &Window, count_padding: bool) -> Launch {
    avg_pool::launch(input, output, window, count_padding).by(&KERNEL)
}
