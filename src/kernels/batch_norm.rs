//! Batch normalisation with running statistics, and ReLU.

use super::{Kernel, Launch, flag, grid_stride, number, read, read_single, write};
use crate::tensor::{LANES, Shape, Tensor};

/// `shaders/batch_norm.wgsl`.
pub static KERNEL: Kernel = Kernel {
    name: "batch_norm",
    source: include_str!("../../shaders/batch_norm.wgsl"),
    bindings: &[
        read("input"),
        read_single("scale"),
        read_single("shift"),
        write("output"),
    ],
};

/// Threads of a workgroup, as in the shader.
pub const THREADS: usize = 256;

/// The epsilon of a batch norm, by its bits so that packings can be compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Epsilon(u32);

impl From<f32> for Epsilon {
    fn from(epsilon: f32) -> Self {
        Self(epsilon.to_bits())
    }
}

/// One launch: a grid-stride loop over the vectors of the activation.
pub fn launch(shape: Shape, relu: bool) -> Launch {
    let (workgroups, stride) = grid_stride(shape.channel_groups() * shape.pixels(), THREADS);
    Launch {
        overrides: vec![
            ("GROUPS", number(shape.channel_groups())),
            ("PIXELS", number(shape.pixels())),
            ("RELU", flag(relu)),
            stride,
        ],
        ..Launch::new(&KERNEL, THREADS, workgroups)
    }
}

/// γ / √(σ² + ε), in f64 and rounded once.
fn scale(gamma: &Tensor, variance: &Tensor, epsilon: Epsilon) -> impl Iterator<Item = f64> {
    let epsilon = f64::from(f32::from_bits(epsilon.0));
    gamma
        .data()
        .iter()
        .zip(variance.data())
        .map(move |(&g, &v)| f64::from(g) / (f64::from(v) + epsilon).sqrt())
}

#[expect(
    clippy::cast_possible_truncation,
    reason = "the one rounding to the precision of the kernel"
)]
fn rounded(values: impl Iterator<Item = f64>) -> Vec<f32> {
    let mut packed: Vec<f32> = values.map(|v| v as f32).collect();
    packed.resize(packed.len().next_multiple_of(LANES), 0.0);
    packed
}

pub(super) fn pack_scale(gamma: &Tensor, variance: &Tensor, epsilon: Epsilon) -> Vec<f32> {
    rounded(scale(gamma, variance, epsilon))
}

pub(super) fn pack_shift(
    [gamma, beta, mean, variance]: [&Tensor; 4],
    epsilon: Epsilon,
) -> Vec<f32> {
    rounded(
        scale(gamma, variance, epsilon)
            .zip(beta.data().iter().zip(mean.data()))
            .map(|(s, (&b, &m))| f64::from(b) - f64::from(m) * s),
    )
}
