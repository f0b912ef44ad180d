//! Mean over all pixels of an image.

use super::{Kernel, Launch, number, read, write_single};
use crate::tensor::Shape;

/// `shaders/global_avg_pool.wgsl`.
pub static KERNEL: Kernel = Kernel {
    name: "global_avg_pool",
    source: include_str!("../../shaders/global_avg_pool.wgsl"),
    bindings: &[read("input"), write_single("output")],
};

/// Threads of a workgroup, as in the shader.
pub const THREADS: usize = 64;

/// One launch: x: channel groups, y: images.
pub fn launch(input: Shape) -> Launch {
    Launch {
        overrides: vec![
            ("PIXELS", number(input.h * input.w)),
            ("BATCH", number(input.n)),
        ],
        ..Launch::new(
            &KERNEL,
            THREADS,
            [input.channel_groups() as u64, input.n as u64, 1],
        )
    }
}
