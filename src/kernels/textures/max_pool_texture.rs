//! Maximum over a sliding window, on textures.

use crate::graph::{PadValue, Window};
use crate::kernels::{Kernel, Launch, load, max_pool, store};
use crate::tensor::Shape;

/// `shaders/textures/max_pool_texture.wgsl`.
pub static KERNEL: Kernel = Kernel {
    name: "max_pool_texture",
    source: include_str!("../../../shaders/textures/max_pool_texture.wgsl"),
    bindings: &[load("input"), store("output")],
};

/// Threads of a workgroup, as in the shader.
pub const THREADS: usize = max_pool::THREADS;

/// One launch: a grid-stride loop over channel groups × output pixels.
pub fn launch(input: Shape, output: Shape, window: &Window, pad_value: PadValue) -> Launch {
    Launch {
        kernel: &KERNEL,
        ..max_pool::launch(input, output, window, pad_value)
    }
}
