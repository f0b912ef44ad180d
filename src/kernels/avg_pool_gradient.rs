//! The gradient of an average pool without padding: each pixel gets a share from every window that
//! contains it.

use super::{Kernel, Launch, number, read_single, write_single};
use crate::graph::Window;
use crate::tensor::Shape;

/// `shaders/avg_pool_gradient.wgsl`.
pub static KERNEL: Kernel = Kernel {
    name: "avg_pool_gradient",
    source: include_str!("../../shaders/avg_pool_gradient.wgsl"),
    threads: 256,
    bindings: &[read_single("input"), write_single("output")],
};

/// One launch: a grid-stride loop over the vectors of the result.
pub fn launch(input: Shape, output: Shape, window: &Window) -> Launch {
    let len = output.vectors();
    let overrides = [
        ("LEN", number(len)),
        ("IN_H", number(input.h)),
        ("IN_W", number(input.w)),
        ("OUT_H", number(output.h)),
        ("OUT_W", number(output.w)),
        ("KERNEL_H", number(window.kernel[0])),
        ("KERNEL_W", number(window.kernel[1])),
        ("STRIDE_H", number(window.stride[0])),
        ("STRIDE_W", number(window.stride[1])),
    ];
    Launch::over(&KERNEL, len, overrides)
}
