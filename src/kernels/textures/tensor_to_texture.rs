//! Copies a storage buffer to a folded texture, for texture kernels that read the results of buffer
//! kernels.

use crate::kernels::{Kernel, Launch, grid_stride, immediate, read_single, store};
use crate::tensor::Shape;

/// `shaders/textures/tensor_to_texture.wgsl`.
pub static KERNEL: Kernel = Kernel {
    name: "tensor_to_texture",
    source: include_str!("../../../shaders/textures/tensor_to_texture.wgsl"),
    bindings: &[read_single("input"), store("output")],
};

/// Threads of a workgroup, as in the shader.
pub const THREADS: usize = 64;

/// One launch: a grid-stride loop over the vectors of the activation.
pub fn launch(shape: Shape) -> Launch {
    copy_launch(&KERNEL, shape)
}

/// A launch of either conversion.
pub(super) fn copy_launch(kernel: &'static Kernel, shape: Shape) -> Launch {
    let len = shape.channel_groups() * shape.pixels();
    let (workgroups, _) = grid_stride(len, THREADS);
    Launch {
        immediates: vec![
            ("len", immediate(len)),
            (
                "stride_threads",
                crate::kernels::stride_threads(workgroups, THREADS),
            ),
        ],
        ..Launch::new(kernel, THREADS, workgroups)
    }
}
