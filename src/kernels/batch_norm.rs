//! Batch normalisation with running statistics, and ReLU.

use super::packing::Source;
use super::{Kernel, Launch, Packing, Storage, flag, number, read, read_single, write};
use crate::tensor::{LANES, Shape, Tensor};

/// `shaders/batch_norm.wgsl`.
pub static KERNEL: Kernel = Kernel {
    name: "batch_norm",
    source: include_str!("../../shaders/batch_norm.wgsl"),
    threads: 256,
    bindings: &[
        read("input"),
        read_single("scale"),
        read_single("shift"),
        write("output"),
    ],
};

/// One launch: a grid-stride loop over the vectors of the activation.
pub fn launch(shape: Shape, relu: bool) -> Launch {
    let overrides = [
        ("GROUPS", number(shape.channel_groups())),
        ("PIXELS", number(shape.pixels())),
        ("RELU", flag(relu)),
    ];
    Launch::over(&KERNEL, shape.vectors(), overrides)
}

/// γ / √(σ² + ε), in 64 bits.
fn scale(gamma: &Tensor, variance: &Tensor, epsilon: f32) -> impl Iterator<Item = f64> {
    let scalars = gamma.data().iter().zip(variance.data());
    scalars.map(move |(&g, &v)| f64::from(g) / (f64::from(v) + f64::from(epsilon)).sqrt())
}

/// Rounds once, and pads with zeros to whole vectors.
#[expect(
    clippy::cast_possible_truncation,
    reason = "the one rounding to the precision of the kernel"
)]
fn rounded(values: impl Iterator<Item = f64>) -> Vec<f32> {
    let mut packed: Vec<f32> = values.map(|v| v as f32).collect();
    packed.resize(packed.len().next_multiple_of(LANES), 0.0);
    packed
}

/// The factor, one per channel.
pub(crate) fn scale_packing([gamma, variance]: [Tensor; 2], epsilon: f32) -> Packing {
    let len = gamma.data().len().next_multiple_of(LANES);
    let order = format!("scale, epsilon {:x}", epsilon.to_bits());
    let source = Source::new(order, [&gamma, &variance]);
    Packing::new(source, Storage::Buffer, len, move || {
        rounded(scale(&gamma, &variance, epsilon))
    })
}

/// The summand, one per channel: β − μ · scale.
pub(crate) fn shift_packing([gamma, beta, mean, variance]: [Tensor; 4], epsilon: f32) -> Packing {
    let len = gamma.data().len().next_multiple_of(LANES);
    let order = format!("shift, epsilon {:x}", epsilon.to_bits());
    let source = Source::new(order, [&gamma, &beta, &mean, &variance]);
    Packing::new(source, Storage::Buffer, len, move || {
        let shifts = beta.data().iter().zip(mean.data());
        let scaled = scale(&gamma, &variance, epsilon).zip(shifts);
        rounded(scaled.map(|(s, (&b, &m))| f64::from(b) - f64::from(m) * s))
    })
}
