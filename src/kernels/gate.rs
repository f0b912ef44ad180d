//! An activation times the sigmoid of a gate for each channel.

use super::{Kernel, Launch, grid_stride, number, read, write};
use crate::tensor::Shape;

/// `shaders/gate.wgsl`.
pub static KERNEL: Kernel = Kernel {
    name: "gate",
    source: include_str!("../../shaders/gate.wgsl"),
    bindings: &[read("input"), read("gates"), write("output")],
};

/// Threads of a workgroup, as in the shader.
pub const THREADS: usize = 256;

/// One launch: a grid-stride loop over the vectors of the activation.
pub fn launch(shape: Shape) -> Launch {
    let len = shape.channel_groups() * shape.pixels();
    let (workgroups, stride) = grid_stride(len, THREADS);
    Launch {
        overrides: vec![
            ("LEN", number(len)),
            ("PLANE", number(shape.h * shape.w)),
            stride,
        ],
        ..Launch::new(&KERNEL, THREADS, workgroups)
    }
}
