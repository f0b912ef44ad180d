//! Copies a folded texture to a storage buffer, for outputs and for kernels that read buffers.

use super::tensor_to_texture::copy_launch;
use crate::kernels::{Kernel, Launch, load, write_single};
use crate::tensor::Shape;

/// `shaders/textures/texture_to_tensor.wgsl`.
pub static KERNEL: Kernel = Kernel {
    name: "texture_to_tensor",
    source: include_str!("../../../shaders/textures/texture_to_tensor.wgsl"),
    bindings: &[load("input"), write_single("output")],
};

/// Threads of a workgroup, as in the shader.
pub const THREADS: usize = super::tensor_to_texture::THREADS;

/// One launch: a grid-stride loop over the vectors of the activation.
pub fn launch(shape: Shape) -> Launch {
    copy_launch(&KERNEL, shape)
}
