//! `max(x, 0)` on its own, for graphs in which it was not fused into the operation before it.

use super::{Kernel, Launch, number, read, write};
use crate::tensor::Shape;

/// `shaders/relu.wgsl`.
pub static KERNEL: Kernel = Kernel {
    name: "relu",
    source: include_str!("../../shaders/relu.wgsl"),
    threads: 256,
    bindings: &[read("input"), write("output")],
};

/// One launch: a grid-stride loop over the vectors of the activation.
pub fn launch(shape: Shape) -> Launch {
    let len = shape.vectors();
    Launch::over(&KERNEL, len, [("LEN", number(len))])
}
