//! Converts the precision that the launch stores to single precision.

use super::{Kernel, Launch, number, read, write_single};
use crate::tensor::Shape;

/// `shaders/widen.wgsl`.
pub static KERNEL: Kernel = Kernel {
    name: "widen",
    source: include_str!("../../shaders/widen.wgsl"),
    threads: 256,
    bindings: &[read("input"), write_single("output")],
};

/// One launch: a grid-stride loop over the vectors of the activation.
pub fn launch(shape: Shape) -> Launch {
    let len = shape.vectors();
    Launch::over(&KERNEL, len, [("LEN", number(len))])
}
