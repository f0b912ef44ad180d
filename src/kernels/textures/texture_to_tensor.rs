//! Copies a folded texture to a storage buffer, for outputs and for kernels that read buffers.

use super::tensor_to_texture::copy_launch;
use crate::kernels::{Kernel, Launch, load, write_single};
use crate::tensor::Shape;

/// `shaders/textures/texture_to_tensor.wgsl`.
pub static KERNEL: Kernel = Kernel {
    name: "texture_to_tensor",
    source: include_str!("../../../shaders/textures/texture_to_tensor.wgsl"),
    threads: 64,
    bindings: &[load("input"), write_single("output")],
};

/// One launch: a grid-stride loop over the vectors of the activation.
pub fn launch(shape: Shape) -> Launch {
    copy_launch(&KERNEL, shape)
}
