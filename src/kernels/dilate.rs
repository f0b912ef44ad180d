//! Inserts zeros between pixels: in the backward pass, these are the positions that a strided
//! convolution skips.

use super::{Kernel, Launch, number, read_single, write_single};
use crate::tensor::Shape;

/// `shaders/dilate.wgsl`.
pub static KERNEL: Kernel = Kernel {
    name: "dilate",
    source: include_str!("../../shaders/dilate.wgsl"),
    threads: 256,
    bindings: &[read_single("input"), write_single("output")],
};

/// One launch: a grid-stride loop over the vectors of the result.
pub fn launch(input: Shape, output: Shape, stride: [usize; 2]) -> Launch {
    let len = output.vectors();
    let overrides = [
        ("LEN", number(len)),
        ("IN_H", number(input.h)),
        ("IN_W", number(input.w)),
        ("OUT_H", number(output.h)),
        ("OUT_W", number(output.w)),
        ("STRIDE_H", number(stride[0])),
        ("STRIDE_W", number(stride[1])),
    ];
    Launch::over(&KERNEL, len, overrides)
}
