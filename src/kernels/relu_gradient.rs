//! The gradient of a ReLU: gradients pass where the activation is positive.

use super::{Kernel, Launch, grid_stride, number, read_single, write_single};
use crate::tensor::Shape;

/// `shaders/relu_gradient.wgsl`.
pub static KERNEL: Kernel = Kernel {
    name: "relu_gradient",
    source: include_str!("../../shaders/relu_gradient.wgsl"),
    bindings: &[
        read_single("input"),
        read_single("activation"),
        write_single("output"),
    ],
};

/// Threads of a workgroup, as in the shader.
pub const THREADS: usize = 256;

/// One launch: a grid-stride loop over the vectors of the activation.
pub fn launch(shape: Shape) -> Launch {
    let len = shape.channel_groups() * shape.pixels();
    let (workgroups, stride) = grid_stride(len, THREADS);
    Launch {
        overrides: vec![("LEN", number(len)), stride],
        ..Launch::new(&KERNEL, THREADS, workgroups)
    }
}
