//! Elementwise operations: batch normalisation, ReLU and addition.

use rayon::prelude::*;

use super::layout::{LANES, Layout, Line};
use crate::graph::{BatchNorm, Graph};
use crate::tensor::Shape;

/// Minimum number of lines worth handing to another core: 64 KiB.
const CHUNK: usize = 1024;

/// Batch normalisation as one multiplication and one addition per channel.
#[derive(Debug)]
pub(super) struct ScaleShift {
    /// One line per block of channels; zero past the last channel.
    lines: Vec<[Line; 2]>,
    relu: bool,
}

impl ScaleShift {
    pub(super) fn new(graph: &Graph, norm: &BatchNorm) -> Self {
        let [gamma, beta, mean, variance] =
            [norm.gamma, norm.beta, norm.mean, norm.variance].map(|p| graph.tensor(p).data());
        let mut lines = vec![[Line::ZERO; 2]; gamma.len().div_ceil(LANES)];
        for c in 0..gamma.len() {
            let scale = gamma[c] / (variance[c] + norm.epsilon).sqrt();
            let [scales, shifts] = &mut lines[c / LANES];
            scales.0[c % LANES] = scale;
            shifts.0[c % LANES] = beta[c] - mean[c] * scale;
        }
        Self {
            lines,
            relu: norm.relu,
        }
    }

    /// Normalises planes of `plane` lines each, one per block of channels.
    pub(super) fn run(&self, plane: usize, x: &[Line], out: &mut [Line]) {
        let low = if self.relu { 0.0 } else { f32::NEG_INFINITY };
        out.par_chunks_mut(plane)
            .zip(x.par_chunks(plane))
            .zip(&self.lines)
            .for_each(|((out, x), [scale, shift])| {
                for (out, &x) in out.iter_mut().zip(x) {
                    let scaled = x.zip(*scale, |x, scale| x * scale);
                    *out = scaled.zip(*shift, |x, shift| at_least(low, x + shift));
                }
            });
    }
}

/// Multiplies each channel by the sigmoid of its gate; `gates` has one pixel per image.
pub(super) fn gate(layout: Layout, x: &[Line], gates: &[Line], out: &mut [Line]) {
    let image = layout.shape.h * layout.shape.w;
    let images = Layout::new(Shape::new(layout.shape.n, layout.shape.c, 1, 1));
    out.par_chunks_mut(layout.plane())
        .zip(x.par_chunks(layout.plane()))
        .zip(gates.par_chunks(images.plane()))
        .for_each(|((out, x), gates)| {
            let images = out.chunks_exact_mut(image).zip(x.chunks_exact(image));
            for ((out, x), gate) in images.zip(gates) {
                let open = gate.map(|gate| 1.0 / (1.0 + (-gate).exp()));
                for (out, &x) in out.iter_mut().zip(x) {
                    *out = x.zip(open, |x, open| x * open);
                }
            }
        });
}

/// Batch normalisation with the statistics of the current batch.
#[derive(Debug)]
pub(super) struct BatchStatistics {
    layout: Layout,
    /// Gamma and beta: one line each per block of channels; zero past the last channel.
    lines: Vec<[Line; 2]>,
    epsilon: f32,
    relu: bool,
}

impl BatchStatistics {
    pub(super) fn new(graph: &Graph, norm: &BatchNorm, x: Shape) -> Self {
        let [gamma, beta] = [norm.gamma, norm.beta].map(|p| graph.tensor(p).data());
        let mut lines = vec![[Line::ZERO; 2]; gamma.len().div_ceil(LANES)];
        for c in 0..gamma.len() {
            let [gammas, betas] = &mut lines[c / LANES];
            gammas.0[c % LANES] = gamma[c];
            betas.0[c % LANES] = beta[c];
        }
        Self {
            layout: Layout::new(x),
            lines,
            epsilon: norm.epsilon,
            relu: norm.relu,
        }
    }

    pub(super) fn run(&self, x: &[Line], out: &mut [Line]) {
        let low = if self.relu { 0.0 } else { f32::NEG_INFINITY };
        let plane = self.layout.plane();
        let pixels = plane - 1;
        out.par_chunks_mut(plane)
            .zip(x.par_chunks(plane))
            .zip(&self.lines)
            .for_each(|((out, x), [gamma, beta])| {
                let x = &x[..pixels];
                let mean = mean(x.iter().copied());
                // Two passes, subtracting the mean: x² − μ² would suffer from cancellation.
                let variance = mean_of_squares(x, mean);
                let scale = gamma.zip(variance, |gamma, variance| {
                    gamma / (variance + self.epsilon).max(f32::MIN_POSITIVE).sqrt()
                });
                for (out, &x) in out[..pixels].iter_mut().zip(x) {
                    let scaled = x.zip(mean, |x, mean| x - mean);
                    let scaled = scaled.zip(scale, |x, scale| x * scale);
                    *out = scaled.zip(*beta, |x, beta| at_least(low, x + beta));
                }
            });
    }
}

fn mean_of_squares(x: &[Line], mean: Line) -> Line {
    self::mean(
        x.iter()
            .map(|x| x.zip(mean, |x, mean| (x - mean) * (x - mean))),
    )
}

/// The mean of each lane, summed in f64.
#[expect(
    clippy::cast_possible_truncation,
    reason = "the one rounding of the mean"
)]
fn mean(lines: impl ExactSizeIterator<Item = Line>) -> Line {
    let count = lines.len() as f64;
    let mut sums = [0.0f64; LANES];
    for line in lines {
        for (sum, x) in sums.iter_mut().zip(line.0) {
            *sum += f64::from(x);
        }
    }
    Line(sums.map(|sum| (sum / count) as f32))
}

/// The larger of the two; NaN if `x` is NaN.
fn at_least(low: f32, x: f32) -> f32 {
    if x < low { low } else { x }
}

/// Computes `max(x, 0)`.
pub(super) fn relu(x: &[Line], out: &mut [Line]) {
    out.par_chunks_mut(CHUNK)
        .zip(x.par_chunks(CHUNK))
        .for_each(|(out, x)| {
            for (out, x) in out.iter_mut().zip(x) {
                *out = x.map(|x| at_least(0.0, x));
            }
        });
}

/// Adds two activations, and applies a ReLU if `relu` is set.
pub(super) fn add(x: &[Line], residual: &[Line], relu: bool, out: &mut [Line]) {
    let low = if relu { 0.0 } else { f32::NEG_INFINITY };
    out.par_chunks_mut(CHUNK)
        .zip(x.par_chunks(CHUNK))
        .zip(residual.par_chunks(CHUNK))
        .for_each(|((out, x), residual)| {
            for ((out, x), &residual) in out.iter_mut().zip(x).zip(residual) {
                *out = x.zip(residual, |x, r| at_least(low, x + r));
            }
        });
}
