//! Probabilities from logits.

use super::{Kernel, Launch, grid, number, read_single, write_single};
use crate::tensor::Shape;

/// `shaders/softmax.wgsl`.
pub static KERNEL: Kernel = Kernel {
    name: "softmax",
    source: include_str!("../../shaders/softmax.wgsl"),
    threads: 64,
    bindings: &[read_single("input"), write_single("output")],
};

/// One launch: x: images.
pub fn launch(shape: Shape) -> Launch {
    Launch {
        overrides: vec![("CHANNELS", number(shape.c)), ("BATCH", number(shape.n))],
        ..Launch::new(&KERNEL, grid(shape.n, 1))
    }
}
