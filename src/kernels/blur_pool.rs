//! The 3×3 binomial filter, with reflection padding.

use super::{Kernel, Launch, number, read, write};
use crate::tensor::Shape;

/// `shaders/blur_pool.wgsl`.
pub static KERNEL: Kernel = Kernel {
    name: "blur_pool",
    source: include_str!("../../shaders/blur_pool.wgsl"),
    threads: 256,
    bindings: &[read("input"), write("output")],
};

/// One launch: a grid-stride loop over channel groups × output pixels.
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
