//! Convolution along the channels of vectors.

use super::{Kernel, Launch, number, read_single, write_single};
use crate::tensor::Shape;

/// `shaders/channel_conv.wgsl`.
pub static KERNEL: Kernel = Kernel {
    name: "channel_conv",
    source: include_str!("../../shaders/channel_conv.wgsl"),
    threads: 64,
    bindings: &[
        read_single("input"),
        read_single("weight"),
        write_single("output"),
    ],
};

/// One launch: a grid-stride loop over the vectors of the images.
pub fn launch(shape: Shape, taps: usize) -> Launch {
    let len = shape.vectors();
    let overrides = [
        ("CHANNELS", number(shape.c)),
        ("BATCH", number(shape.n)),
        ("LEN", number(len)),
        ("TAPS", number(taps)),
    ];
    Launch::over(&KERNEL, len, overrides)
}
