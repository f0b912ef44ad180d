//! The gradient of a ReLU, on textures.

use crate::kernels::{Kernel, Launch, load, relu_gradient, store};
use crate::tensor::Shape;

/// `shaders/textures/relu_gradient_texture.wgsl`.
pub static KERNEL: Kernel = Kernel {
    name: "relu_gradient_texture",
    source: include_str!("../../../shaders/textures/relu_gradient_texture.wgsl"),
    threads: 256,
    bindings: &[load("input"), load("activation"), store("output")],
};

/// One launch: a grid-stride loop over the texels of the activation.
pub fn launch(shape: Shape) -> Launch {
    relu_gradient::launch(shape).by(&KERNEL)
}
