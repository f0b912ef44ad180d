//! The sum over the channels of a gradient times an activation, which is a map of one channel.

use super::{Kernel, Launch, flag, number, read_single, write_single};
use crate::tensor::Shape;

/// `shaders/channel_dot.wgsl`.
pub static KERNEL: Kernel = Kernel {
    name: "channel_dot",
    source: include_str!("../../shaders/channel_dot.wgsl"),
    bindings: &[
        read_single("input"),
        read_single("activation"),
        write_single("output"),
    ],
};

/// Threads of a workgroup, as in the shader.
pub const THREADS: usize = 64;

/// Workgroups in a row of the grid: below 65,535, WebGPU's default limit.
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
        ..Launch::new(
            &KERNEL,
            THREADS,
            [grid_x as u64, pixels.div_ceil(grid_x) as u64, 1],
        )
    }
}
