//! Converts single precision to the precision that the launch stores.

use super::{Kernel, Launch, number, read_single, write};
use crate::tensor::Shape;

/// `shaders/narrow.wgsl`.
pub static KERNEL: Kernel = Kernel {
    name: "narrow",
    source: include_str!("../../shaders/narrow.wgsl"),
    threads: 256,
    bindings: &[read_single("input"), write("output")],
};

/// One launch: a grid-stride loop over the vectors of the activation.
pub fn launch(shape: Shape) -> Launch {
    let len = shape.vectors();
    Launch::over(&KERNEL, len, [("LEN", number(len))])
}
