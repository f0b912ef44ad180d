//! Converts RGBA8 pixels to the normalised input tensor; they are already resized.

use super::{Kernel, Launch, flag, number, read_single, write};
use crate::picture::Normalization;
use crate::tensor::Shape;

/// `shaders/image_to_tensor.wgsl`.
pub static KERNEL: Kernel = Kernel {
    name: "image_to_tensor",
    source: include_str!("../../shaders/image_to_tensor.wgsl"),
    threads: 256,
    bindings: &[read_single("pixels"), write("output")],
};

/// One launch: a grid-stride loop over the pixels of the batch.
pub fn launch(output: Shape, normalization: &Normalization) -> Launch {
    let scale = |c: usize| 1.0 / (255.0 * f64::from(normalization.std[c]));
    let shift = |c: usize| -f64::from(normalization.mean[c]) / f64::from(normalization.std[c]);
    let overrides = [
        ("PIXELS", number(output.pixels())),
        ("SCALE_0", scale(0)),
        ("SCALE_1", scale(1)),
        ("SCALE_2", scale(2)),
        ("SHIFT_0", shift(0)),
        ("SHIFT_1", shift(1)),
        ("SHIFT_2", shift(2)),
        ("SWAP_RED_BLUE", flag(normalization.swap_red_blue)),
    ];
    Launch::over(&KERNEL, output.pixels(), overrides)
}
