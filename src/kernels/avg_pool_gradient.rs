//! The gradient of an average pool without padding: each pixel gets a share from every window that
//! contains it.

use super::{Kernel, Launch, grid_stride, number, read_single, write_single};
use crate::graph::Window;
use crate::tensor::Shape;

/// `shaders/avg_pool_gradient.wgsl`.
pub static KERNEL: Kernel = Kernel {
    name: "avg_pool_gradient",
    source: include_str!("../../shaders/avg_pool_gradient.wgsl"),
    bindings: &[read_single("input"), write_single("output")],
};

/// Threads of a workgroup, as in the shader.
pub const THREADS: usize = 256;

/// One launch: a grid-stride loop over the vectors of the result.
pub fn launch(input: Shape, output: Shape, window: &Window) -> Launch {
    let len = output.channel_groups() * output.pixels();
    let (workgroups, stride_threads) = grid_stride(len, THREADS);
    Launch {
        overrides: vec![
            ("LEN", number(len)),
            ("IN_H", number(input.h)),
            ("IN_W", number(input.w)),
            ("OUT_H", number(output.h)),
            ("OUT_W", number(output.w)),
            ("KERNEL_H", number(window.kernel[0])),
            ("KERNEL_W", number(window.kernel[1])),
            ("STRIDE_H", number(window.stride[0])),
            ("STRIDE_W", number(window.stride[1])),
            stride_threads,
        ],
        ..Launch::new(&KERNEL, THREADS, workgroups)
    }
}
