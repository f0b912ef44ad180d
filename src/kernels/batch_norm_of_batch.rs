//! Batch normalisation with the statistics of the batch, and ReLU.

use super::{Kernel, Launch, flag, grid, number, read, read_single, write};
use crate::tensor::Shape;

/// `shaders/batch_norm_of_batch.wgsl`.
pub static KERNEL: Kernel = Kernel {
    name: "batch_norm_of_batch",
    source: include_str!("../../shaders/batch_norm_of_batch.wgsl"),
    threads: 256,
    bindings: &[
        read("input"),
        read_single("gamma"),
        read_single("beta"),
        write("output"),
    ],
};

/// One launch: x: channel groups.
pub fn launch(input: Shape, epsilon: f32, relu: bool) -> Launch {
    Launch {
        overrides: vec![
            ("PIXELS", number(input.pixels())),
            ("EPSILON", f64::from(epsilon)),
            ("RELU", flag(relu)),
        ],
        ..Launch::new(&KERNEL, grid(input.channel_groups(), 1))
    }
}
