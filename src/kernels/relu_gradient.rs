//! The gradient of a ReLU: gradients pass where the activation is positive.

use super::{Kernel, Launch, number, read_single, write_single};
use crate::tensor::Shape;

/// `shaders/relu_gradient.wgsl`.
pub static KERNEL: Kernel = Kernel {
    name: "relu_gradient",
    source: include_str!("../../shaders/relu_gradient.wgsl"),
    threads: 256,
    bindings: &[
        read_single("input"),
        read_single("activation"),
        write_single("output"),
    ],
};

/// One launch: a grid-stride loop over the vectors of the activation.
pub fn launch(shape: Shape) -> Launch {
    let len = shape.vectors();
    Launch::over(&KERNEL, len, [("LEN", number(len))])
}
