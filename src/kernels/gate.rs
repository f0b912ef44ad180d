//! Multiplies each channel of an activation by the sigmoid of its gate.

use super::{Kernel, Launch, number, read, write};
use crate::tensor::Shape;

/// `shaders/gate.wgsl`.
pub static KERNEL: Kernel = Kernel {
    name: "gate",
    source: include_str!("../../shaders/gate.wgsl"),
    threads: 256,
    bindings: &[read("input"), read("gates"), write("output")],
};

/// One launch: a grid-stride loop over the vectors of the activation.
pub fn launch(shape: Shape) -> Launch {
    let len = shape.vectors();
    Launch::over(
        &KERNEL,
        len,
        [("LEN", number(len)), ("PLANE", number(shape.h * shape.w))],
    )
}
