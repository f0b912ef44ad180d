//! Samples of times, and random input for measurements.

use crate::clock::Instant;
use crate::error::Error;
use crate::internals::noise::Noise;
use crate::tensor::Tensor;

/// Times of several runs in milliseconds.
#[derive(Clone, Debug, Default)]
pub(super) struct Samples(Vec<f64>);

impl Samples {
    pub(super) fn push(&mut self, ms: f64) {
        self.0.push(ms);
        self.0.sort_by(f64::total_cmp);
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// The shortest time.
    pub(super) fn min(&self) -> f64 {
        self.quantile(0.0)
    }

    /// The quantile `q` of the samples; infinite if there are none.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a place among the samples"
    )]
    pub(super) fn quantile(&self, q: f64) -> f64 {
        let last = self.0.len().saturating_sub(1);
        let place = (q.clamp(0.0, 1.0) * last as f64).round() as usize;
        self.0.get(place).copied().unwrap_or(f64::INFINITY)
    }
}

/// Measures how long something takes, in milliseconds.
pub(super) fn time(run: impl FnOnce() -> Result<(), Error>) -> Result<f64, Error> {
    let start = Instant::now();
    run()?;
    Ok(start.elapsed().as_secs_f64() * 1e3)
}

/// Noise between −scale and scale, which depends only on the shape.
pub(super) fn noise(dims: &[usize], scale: f32) -> Tensor {
    let mut noise = Noise::new(1);
    Tensor::from_fn(dims, |_| noise.scalar() * scale)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_samples() {
        let mut samples = Samples::default();
        assert_eq!(samples.min(), f64::INFINITY, "no sample wins nothing");
        for ms in [5.0, 1.0, 4.0, 2.0, 3.0] {
            samples.push(ms);
        }
        let quantiles = [0.0, 0.25, 0.5, 1.0].map(|q| samples.quantile(q));
        assert_eq!(quantiles, [1.0, 2.0, 3.0, 5.0]);
    }

    #[test]
    fn noise_fills_its_range() {
        let noise = noise(&[1000], 2.0);
        let (low, high) = noise
            .data()
            .iter()
            .fold((0.0f32, 0.0f32), |(l, h), &x| (l.min(x), h.max(x)));
        assert!(
            (-2.0..-1.9).contains(&low) && (1.9..2.0).contains(&high),
            "{low} to {high}"
        );
    }
}
