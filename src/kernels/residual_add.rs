//! Sum of two activations, and ReLU.

use super::{Kernel, Launch, flag, grid_stride, number, read, write};
use crate::tensor::Shape;

/// `shaders/residual_add.wgsl`.
pub static KERNEL: Kernel = Kernel {
    name: "residual_add",
    source: include_str!("../../shaders/residual_add.wgsl"),
    bindings: &[read("input"), read("residual"), write("output")],
};

/// Threads of a workgroup, as in the shader.
pub const THREADS: usize = 256;

/// One launch: a grid-stride loop over the vectors of the activation.
pub fn launch(shape: Shape, relu: bool) -> Launch {
    let len = shape.channel_groups() * shape.pixels();
    let (workgroups, stride) = grid_stride(len, THREADS);
    Launch {
        overrides: vec![("LEN", number(len)), ("RELU", flag(relu)), stride],
        ..Launch::new(&KERNEL, THREADS, workgroups)
    }
}
