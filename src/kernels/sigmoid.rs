//! Turns each logit into an independent probability.

use super::{Kernel, Launch, number, read_single, write_single};
use crate::tensor::Shape;

/// `shaders/sigmoid.wgsl`.
pub static KERNEL: Kernel = Kernel {
    name: "sigmoid",
    source: include_str!("../../shaders/sigmoid.wgsl"),
    threads: 64,
    bindings: &[read_single("input"), write_single("output")],
};

/// One launch: a grid-stride loop over the vectors of the images.
pub fn launch(shape: Shape) -> Launch {
    let len = shape.vectors();
    Launch::over(
        &KERNEL,
        len,
        [
            ("CHANNELS", number(shape.c)),
            ("BATCH", number(shape.n)),
            ("LEN", number(len)),
        ],
    )
}
