//! Maximum over a sliding window, on textures.

use crate::graph::{PadValue, Window};
use crate::kernels::{Kernel, Launch, load, max_pool, store};
use crate::tensor::Shape;

/// `shaders/textures/max_pool_texture.wgsl`.
pub static KERNEL: Kernel = Kernel {
    name: "max_pool_texture",
    source: include_str!("../../../shaders/textures/max_pool_texture.wgsl"),
    threads: 256,
    bindings: &[load("input"), store("output")],
};

/// One launch: a grid-stride loop over channel groups × output pixels.
pub fn launch(input: Shape, output: Shape, window: &Window, pad_value: PadValue) -> Launch {
    max_pool::launch(input, output, window, pad_value).by(&KERNEL)
}
