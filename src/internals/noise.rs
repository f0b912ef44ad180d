//! Reproducible noise, for measurements and tests.

use crate::tensor::Tensor;

/// Numbers in [-1, 1) that depend on a seed alone: xorshift (Marsaglia 2003).
#[derive(Clone, Debug)]
pub struct Noise(u64);

impl Noise {
    /// Starts a sequence.
    pub const fn new(seed: u64) -> Self {
        // Odd, because a state of zero would stay zero.
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    /// The next number.
    pub fn scalar(&mut self) -> f32 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        // The upper 16 bits, which an `f32` holds exactly.
        let [.., low, high] = self.0.to_le_bytes();
        f32::from(u16::from_le_bytes([low, high])) / 32_768.0 - 1.0
    }

    /// A tensor filled with the next numbers.
    pub fn tensor(&mut self, dims: &[usize]) -> Tensor {
        Tensor::from_fn(dims, |_| self.scalar())
    }

    /// A tensor of numbers in [0.5, 1.5), for variances and scales.
    pub fn positive(&mut self, dims: &[usize]) -> Tensor {
        Tensor::from_fn(dims, |_| self.scalar() * 0.5 + 1.0)
    }
}
