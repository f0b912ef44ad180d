//! The binomial filter over an image mirrored at its edges.

use super::{Kernel, Launch, grid_stride, number, read, write};
use crate::tensor::Shape;

/// `shaders/blur_pool.wgsl`.
pub static KERNEL: Kernel = Kernel {
    name: "blur_pool",
    source: include_str!("../../shaders/blur_pool.wgsl"),
    bindings: &[read("input"), write("output")],
};

/// Threads of a workgroup, as in the shader.
pub const THREADS: usize = 256;

/// One launch: a grid-stride loop over channel groups × output pixels.
pub fn launch(input: Shape, output: Shape, stride: [usize; 2]) -> Launch {
    let len = output.channel_groups() * output.pixels();
    let (workgroups, stride_threads) = grid_stride(len, THREADS);
    Launch {
        overrides: vec![
            ("LEN", number(len)),
            ("IN_H", number(input.h)),
            ("IN_W", number(input.w)),
            ("OUT_H", number(output.h)),
            ("OUT_W", number(output.w)),
            ("STRIDE_H", number(stride[0])),
            ("STRIDE_W", number(stride[1])),
            stride_threads,
        ],
        ..Launch::new(&KERNEL, THREADS, workgroups)
    }
}
