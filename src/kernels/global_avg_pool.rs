//! Mean over all pixels of an image.

use super::{Kernel, Launch, grid, number, read, write_single};
use crate::tensor::Shape;

/// `shaders/global_avg_pool.wgsl`.
pub static KERNEL: Kernel = Kernel {
    name: "global_avg_pool",
    source: include_str!("../../shaders/global_avg_pool.wgsl"),
    threads: 64,
    bindings: &[read("input"), write_single("output")],
};

/// One launch: x: channel groups, y: images.
pub fn launch(input: Shape) -> Launch {
    Launch {
        overrides: vec![
            ("PIXELS", number(input.h * input.w)),
            ("BATCH", number(input.n)),
        ],
        ..Launch::new(&KERNEL, grid(input.channel_groups(), input.n))
    }
}
