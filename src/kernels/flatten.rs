//! Flattens each image into the channels of a single pixel.

use super::{Kernel, Launch, flag, number, read_single, write_single};
use crate::graph::FlattenOrder;
use crate::tensor::{LANES, Shape};

/// `shaders/flatten.wgsl`.
pub static KERNEL: Kernel = Kernel {
    name: "flatten",
    source: include_str!("../../shaders/flatten.wgsl"),
    threads: 64,
    bindings: &[read_single("input"), write_single("output")],
};

/// One launch: a grid-stride loop over the output's vectors.
pub fn launch(input: Shape, order: FlattenOrder) -> Launch {
    let pixels = input.h * input.w;
    let vectors = (input.c * pixels).div_ceil(LANES) * input.n;
    let overrides = [
        ("CHANNELS", number(input.c)),
        ("PIXELS", number(pixels)),
        ("BATCH", number(input.n)),
        ("CHANNELS_LAST", flag(order == FlattenOrder::Hwc)),
    ];
    Launch::over(&KERNEL, vectors, overrides)
}
