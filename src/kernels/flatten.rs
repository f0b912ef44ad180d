//! Flattens each image into the channels of one pixel.

use super::{Kernel, Launch, flag, grid_stride, number, read_single, write_single};
use crate::graph::FlattenOrder;
use crate::tensor::{LANES, Shape};

/// `shaders/flatten.wgsl`.
pub static KERNEL: Kernel = Kernel {
    name: "flatten",
    source: include_str!("../../shaders/flatten.wgsl"),
    bindings: &[read_single("input"), write_single("output")],
};

/// Threads of a workgroup, as in the shader.
pub const THREADS: usize = 64;

/// One launch: a grid-stride loop over the output's vectors.
pub fn launch(input: Shape, order: FlattenOrder) -> Launch {
    let pixels = input.h * input.w;
    let vectors = (input.c * pixels).div_ceil(LANES) * input.n;
    let (workgroups, stride) = grid_stride(vectors, THREADS);
    Launch {
        overrides: vec![
            ("CHANNELS", number(input.c)),
            ("PIXELS", number(pixels)),
            ("BATCH", number(input.n)),
            ("CHANNELS_LAST", flag(order == FlattenOrder::Hwc)),
            stride,
        ],
        ..Launch::new(&KERNEL, THREADS, workgroups)
    }
}
