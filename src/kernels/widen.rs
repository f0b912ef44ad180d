//! Converts the precision that the launch stores to single precision.

use super::{Kernel, Launch, grid_stride, number, read, write_single};
use crate::tensor::Shape;

/// `shaders/widen.wgsl`.
pub static KERNEL: Kernel = Kernel {
    name: "widen",
    source: include_str!("../../shaders/widen.wgsl"),
    bindings: &[read("input"), write_single("output")],
};

/// Threads of a workgroup, as in the shader.
pub const THREADS: usize = 256;

/// One launch: a grid-stride loop over the vectors of the activation.
pub fn launch(shape: Shape) -> Launch {
    let len = shape.channel_groups() * shape.pixels();
    let (workgroups, stride) = grid_stride(len, THREADS);
    Launch {
        kernel: &KERNEL,
        overrides: vec![("LEN", number(len)), stride],
        ..Launch::new(&KERNEL, THREADS, workgroups)
    }
}
