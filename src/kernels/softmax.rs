//! Probabilities from logits.

use super::{Kernel, Launch, number, read, write};
use crate::tensor::Shape;

/// `shaders/softmax.wgsl`.
pub static KERNEL: Kernel = Kernel {
    name: "softmax",
    source: include_str!("../../shaders/softmax.wgsl"),
    bindings: &[read("input"), write("output")],
};

/// Threads of a workgroup, as in the shader.
pub const THREADS: usize = 64;

/// One launch: x: images.
pub fn launch(shape: Shape) -> Launch {
    Launch {
        kernel: &KERNEL,
        overrides: vec![("CHANNELS", number(shape.c)), ("BATCH", number(shape.n))],
        tile: vec![],
        immediates: vec![],
        threads: THREADS,
        workgroups: [shape.n as u64, 1, 1],
    }
}
