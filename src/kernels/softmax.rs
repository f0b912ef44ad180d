//! Probabilities from logits.

use super::{Kernel, Launch, number, read_single, write_single};
use crate::tensor::Shape;

/// `shaders/softmax.wgsl`.
pub static KERNEL: Kernel = Kernel {
    name: "softmax",
    source: include_str!("../../shaders/softmax.wgsl"),
    bindings: &[read_single("input"), write_single("output")],
};

/// Threads of a workgroup, as in the shader.
pub const THREADS: usize = 64;

/// One launch: x: images.
pub fn launch(shape: Shape) -> Launch {
    Launch {
        overrides: vec![("CHANNELS", number(shape.c)), ("BATCH", number(shape.n))],
        ..Launch::new(&KERNEL, THREADS, [shape.n as u64, 1, 1])
    }
}
