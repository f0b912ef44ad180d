//! The gradient of a ReLU, on textures.

use crate::kernels::{Kernel, Launch, load, relu_gradient, store};
use crate::tensor::Shape;

/// `shaders/textures/relu_gradient_texture.wgsl`.
pub static KERNEL: Kernel = Kernel {
    name: "relu_gradient_texture",
    source: include_str!("../../../shaders/textures/relu_gradient_texture.wgsl"),
    bindings: &[load("input"), load("activation"), store("output")],
};

/// Threads of a workgroup, as in the shader.
pub const THREADS: usize = relu_gradient::THREADS;

/// One launch: a grid-stride loop over the texels of the activation.
pub fn launch(shape: Shape) -> Launch {
    Launch {
        kernel: &KERNEL,
        ..relu_gradient::launch(shape)
    }
}
