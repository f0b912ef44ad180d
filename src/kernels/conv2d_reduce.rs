//! Completes a convolution whose reduction was split: sum of the slices, bias, residual, ReLU.

use super::conv2d::Geometry;
use super::{Kernel, Launch, flag, number, read, read_single, write};

/// `shaders/conv2d_reduce.wgsl`.
pub static KERNEL: Kernel = Kernel {
    name: "conv2d_reduce",
    source: include_str!("../../shaders/conv2d_reduce.wgsl"),
    threads: 64,
    bindings: &[
        read("input"),
        read_single("bias"),
        read("residual"),
        write("output"),
    ],
};

/// One launch: a grid-stride loop over channel groups × output pixels.
pub fn launch(geometry: &Geometry, slices: usize) -> Launch {
    let output = geometry.output;
    let overrides = [
        ("OUT_GROUPS", number(output.channel_groups())),
        ("OUT_PIXELS", number(output.pixels())),
        ("SLICES", number(slices)),
        ("RELU", flag(geometry.relu)),
        ("RESIDUAL", geometry.residual.constant()),
    ];
    Launch::over(&KERNEL, output.vectors(), overrides)
}
