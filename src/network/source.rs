//! Sources of a network's weights.

use super::Parameter;
use crate::error::Error;
use crate::tensor::Tensor;

/// Maximum number of elements in a random tensor: 1 GiB. Real tensors are a hundred times smaller;
/// only a mistyped size or class count gets here.
const MAX_RANDOM_LEN: usize = 1 << 28;

/// 2⁶⁴ divided by the golden ratio: the step of `SplitMix64`.
const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;

/// Provides tensors by their names in a file, in the layout of the graph (OIHW, `[out, in]`).
pub trait TensorSource {
    /// The dimensions of a tensor, if there is one with this name.
    fn dims(&self, name: &str) -> Option<Vec<usize>>;

    /// Takes a tensor of the given shape.
    ///
    /// # Errors
    /// [`Error::WeightMissing`], [`Error::WeightShape`], [`Error::WeightType`] and
    /// [`Error::WeightNotFinite`] state the name and shape of the tensor in the source.
    fn take(&mut self, name: &str, dims: &[usize]) -> Result<Tensor, Error>;
}

/// Random weights, initialised as in the classic lesson: Glorot uniform kernels (Glorot & Bengio
/// 2010), zero biases, and batch normalisations that are the identity.
///
/// A number depends only on the seed, the name of its layer and its index, not on the number or
/// order of layers. The same seed always gives the same numbers.
#[derive(Clone, Copy, Debug)]
pub struct Random {
    /// The seed of the numbers.
    pub seed: u64,
}

impl TensorSource for Random {
    /// Any tensor can be taken, with whatever shape is requested.
    fn dims(&self, _: &str) -> Option<Vec<usize>> {
        None
    }

    fn take(&mut self, name: &str, dims: &[usize]) -> Result<Tensor, Error> {
        let (layer, parameter) = name.rsplit_once('.').unwrap_or((name, ""));
        let len = dims.iter().try_fold(1usize, |len, &d| len.checked_mul(d));
        if len.is_none_or(|len| len > MAX_RANDOM_LEN) {
            return Err(Error::Model {
                model: layer.to_owned(),
                reason: format!(
                    "a {parameter} of shape {dims:?} is too large; reduce the size or the classes"
                ),
            });
        }
        let is_kernel = dims.len() > 1;
        Ok(if is_kernel {
            let limit = glorot_limit(dims);
            let start = mix(self.seed ^ hash(layer));
            Tensor::from_fn(dims, |i| limit * uniform(start, i))
        } else {
            let ones = [Parameter::Gamma, Parameter::Variance];
            let value = f32::from(u8::from(ones.iter().any(|one| one.name() == parameter)));
            Tensor::from_fn(dims, |_| value)
        })
    }
}

/// `√(6 / (fan in + fan out))` of an OIHW kernel or an `[out, in]` matrix.
fn glorot_limit(dims: &[usize]) -> f32 {
    let [out_c, in_c, window @ ..] = dims else {
        return 0.0;
    };
    let window: usize = window.iter().product();
    (6.0 / ((in_c + out_c) * window) as f32).sqrt()
}

/// Maps an index to a number in [-1, 1), using the 24 bits that an `f32` holds exactly.
fn uniform(start: u64, index: usize) -> f32 {
    let bits = mix(start.wrapping_add((index as u64).wrapping_mul(GOLDEN))) >> 40;
    bits as f32 * (2.0 / (1 << 24) as f32) - 1.0
}

/// The output function of `SplitMix64` (Steele, Lea & Flood 2014): flipping any bit of the argument
/// changes half of the result's bits on average.
const fn mix(mut bits: u64) -> u64 {
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^ (bits >> 31)
}

/// FNV-1a of a name. `std`'s hasher may change between Rust versions; this must not.
fn hash(name: &str) -> u64 {
    name.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn random(seed: u64, name: &str, dims: &[usize]) -> Tensor {
        Random { seed }.take(name, dims).expect("small enough")
    }

    #[test]
    fn random_tensors_have_a_limit() {
        let result = Random { seed: 0 }.take("fc.weight", &[usize::MAX, 2, 1, 1]);
        assert!(
            matches!(result, Err(Error::Model { .. })),
            "overflow is an error"
        );
    }

    #[test]
    fn kernels_are_uniform_within_the_glorot_limit() {
        let dims = [64, 32, 3, 3];
        let kernel = random(7, "layer.weight", &dims);
        let limit = (6.0f32 / ((64 + 32) * 9) as f32).sqrt();
        let (mut low, mut high, mut sum, mut squares) = (0.0f32, 0.0f32, 0.0f64, 0.0f64);
        for &x in kernel.data() {
            low = low.min(x);
            high = high.max(x);
            sum += f64::from(x);
            squares += f64::from(x) * f64::from(x);
        }
        let count = kernel.len() as f64;
        assert!(
            low >= -limit && high < limit,
            "[{low}, {high}] past {limit}"
        );
        assert!(
            low < -0.99 * limit && high > 0.99 * limit,
            "[{low}, {high}]"
        );
        assert!(
            (sum / count).abs() < 0.02 * f64::from(limit),
            "mean {}",
            sum / count
        );
        // The variance of a uniform distribution is limit²/3.
        let variance = squares / count / f64::from(limit * limit / 3.0);
        assert!((variance - 1.0).abs() < 0.02, "variance {variance}");
    }

    #[test]
    fn numbers_depend_on_seed_and_name_only() {
        let dims = [4, 3, 1, 1];
        let kernel = random(0, "conv1.weight", &dims);
        assert_eq!(kernel, random(0, "conv1.weight", &dims), "again");
        assert_ne!(kernel, random(1, "conv1.weight", &dims), "seed");
        assert_ne!(kernel, random(0, "conv2.weight", &dims), "name");
        // Pinned: published measurements name a seed.
        assert_eq!(
            kernel.data()[..2],
            [0.678_197_1, 0.799_874_54],
            "first numbers of seed 0"
        );
    }
}
