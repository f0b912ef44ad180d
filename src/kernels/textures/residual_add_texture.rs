//! Sum of two activations, and ReLU, on textures.

use crate::kernels::{Kernel, Launch, load, residual_add, store};
use crate::tensor::Shape;

/// `shaders/textures/residual_add_texture.wgsl`.
pub static KERNEL: Kernel = Kernel {
    name: "residual_add_texture",
    source: include_str!("../../../shaders/textures/residual_add_texture.wgsl"),
    threads: 256,
    bindings: &[load("input"), load("residual"), store("output")],
};

/// One launch: a grid-stride loop over the texels of the activation.
pub fn launch(shape: Shape, relu: bool) -> Launch {
    residual_add::launch(shape, relu).by(&KERNEL)
}
