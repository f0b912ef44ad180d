//! A probability from each logit by itself.

use super::{Kernel, Launch, grid_stride, number, read_single, write_single};
use crate::tensor::Shape;

/// `shaders/sigmoid.wgsl`.
pub static KERNEL: Kernel = Kernel {
    name: "sigmoid",
    source: include_str!("../../shaders/sigmoid.wgsl"),
    bindings: &[read_single("input"), write_single("output")],
};

/// Threads of a workgroup, as in the shader.
pub const THREADS: usize = 64;

/// One launch: a grid-stride loop over the vectors of the images.
pub fn launch(shape: Shape) -> Launch {
    let len = shape.channel_groups() * shape.pixels();
    let (workgroups, stride) = grid_stride(len, THREADS);
    Launch {
        overrides: vec![
            ("CHANNELS", number(shape.c)),
            ("BATCH", number(shape.n)),
            ("LEN", number(len)),
            stride,
        ],
        ..Launch::new(&KERNEL, THREADS, workgroups)
    }
}
