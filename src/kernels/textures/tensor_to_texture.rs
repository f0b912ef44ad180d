//! Copies a storage buffer to a folded texture, for texture kernels that read the results of buffer
//! kernels.

use crate::kernels::{Kernel, Launch, read_single, store};
use crate::tensor::Shape;

/// `shaders/textures/tensor_to_texture.wgsl`.
pub static KERNEL: Kernel = Kernel {
    name: "tensor_to_texture",
    source: include_str!("../../../shaders/textures/tensor_to_texture.wgsl"),
    threads: 64,
    bindings: &[read_single("input"), store("output")],
};

/// One launch: a grid-stride loop over the vectors of the activation.
pub fn launch(shape: Shape) -> Launch {
    copy_launch(&KERNEL, shape)
}

/// A launch of either conversion.
pub(super) fn copy_launch(kernel: &'static Kernel, shape: Shape) -> Launch {
    let len = shape.vectors();
    Launch::over_sized(kernel, len, [("len", len)])
}
