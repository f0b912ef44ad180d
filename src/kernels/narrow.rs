//! Converts single precision to the precision that the launch stores.

use super::{Kernel, Launch, grid_stride, number, read_single, write};
use crate::tensor::Shape;

/// `shaders/narrow.wgsl`.
pub static KERNEL: Kernel = Kernel {
    name: "narrow",
    source: include_str!("../../shaders/narrow.wgsl"),
    bindings: &[read_single("input"), write("output")],
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
