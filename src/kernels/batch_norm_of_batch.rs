//! Batch normalisation with the statistics of the batch, and ReLU.

use super::{Kernel, Launch, flag, number, read, write};
use crate::tensor::Shape;

/// `shaders/batch_norm_of_batch.wgsl`.
pub static KERNEL: Kernel = Kernel {
    name: "batch_norm_of_batch",
    source: include_str!("../../shaders/batch_norm_of_batch.wgsl"),
    bindings: &[read("input"), read("gamma"), read("beta"), write("output")],
};

/// Threads of a workgroup, as in the shader.
pub const THREADS: usize = 256;

/// One launch: x: channel groups.
pub fn launch(input: Shape, epsilon: f32, relu: bool) -> Launch {
    Launch {
        kernel: &KERNEL,
        overrides: vec![
            ("PIXELS", number(input.pixels())),
            ("EPSILON", f64::from(epsilon)),
            ("RELU", flag(relu)),
        ],
        tile: vec![],
        immediates: vec![],
        threads: THREADS,
        workgroups: [input.channel_groups() as u64, 1, 1],
    }
}
