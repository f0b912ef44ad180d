//! The dot product of a gradient and an activation over channels, which gives a one-channel map.

use super::{Kernel, Launch, flag, grid, number, read_single, write_single};
use crate::tensor::Shape;

/// `shaders/channel_dot.wgsl`.
pub static KERNEL: Kernel = Kernel {
    name: "channel_dot",
    source: include_str!("../../shaders/channel_dot.wgsl"),
    threads: 64,
    bindings: &[
        read_single("input"),
        read_single("activation"),
        write_single("output"),
    ],
};

/// Workgroups along x: below 65,535, WebGPU's default limit.
const GRID_X: usize = 1 << 15;

/// One launch: a workgroup for each pixel.
pub fn launch(input: Shape, positive: bool) -> Launch {
    let pixels = input.pixels();
    let grid_x = pixels.min(GRID_X);
    Launch {
        overrides: vec![
            ("C_GROUPS", number(input.channel_groups())),
            ("PIXELS", number(pixels)),
            ("GRID_X", number(grid_x)),
            ("POSITIVE", flag(positive)),
        ],
        ..Launch::new(&KERNEL, grid(grid_x, pixels.div_ceil(grid_x)))
    }
}
