//! Another number of rows and columns, interpolated.

use super::{Kernel, Launch, flag, number, read, write};
use crate::graph::Interpolation;
use crate::tensor::Shape;

/// `shaders/resize.wgsl`.
pub static KERNEL: Kernel = Kernel {
    name: "resize",
    source: include_str!("../../shaders/resize.wgsl"),
    threads: 256,
    bindings: &[read("input"), write("output")],
};

/// One launch: a grid-stride loop over channel groups × output pixels.
pub fn launch(input: Shape, output: Shape, interpolation: Interpolation) -> Launch {
    let len = output.vectors();
    // The quotient is rounded to single precision, as in TensorFlow.
    let scale = |from: usize, to: usize| f64::from(from as f32 / to as f32);
    let overrides = [
        ("LEN", number(len)),
        ("IN_H", number(input.h)),
        ("IN_W", number(input.w)),
        ("OUT_H", number(output.h)),
        ("OUT_W", number(output.w)),
        ("SCALE_H", scale(input.h, output.h)),
        ("SCALE_W", scale(input.w, output.w)),
        ("LINEAR", flag(interpolation == Interpolation::Linear)),
    ];
    Launch::over(&KERNEL, len, overrides)
}
