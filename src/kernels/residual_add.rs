//! Sum of two activations, and an optional ReLU.

use super::{Kernel, Launch, flag, number, read, write};
use crate::tensor::Shape;

/// `shaders/residual_add.wgsl`.
pub static KERNEL: Kernel = Kernel {
    name: "residual_add",
    source: include_str!("../../shaders/residual_add.wgsl"),
    threads: 256,
    bindings: &[read("input"), read("residual"), write("output")],
};

/// One launch: a grid-stride loop over the vectors of the activation.
pub fn launch(shape: Shape, relu: bool) -> Launch {
    let len = shape.vectors();
    Launch::over(&KERNEL, len, [("LEN", number(len)), ("RELU", flag(relu))])
}
