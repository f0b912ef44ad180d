//! Made-up parameters: the initialisation of the lesson, without a file.
//!
//! Kernels are Glorot uniform (Glorot & Bengio 2010), biases zero, and a batch normalisation is the
//! identity. A number depends on the seed, the name of its parameter and its index only, so neither
//! the order of the layers nor their number matters.

use super::scheme::Role;
use resnet_wgpu::tensor::Tensor;

/// 2⁶⁴ divided by the golden ratio: the step of `SplitMix64`.
const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;

/// The initial parameter of a role.
pub(super) fn parameter(seed: u64, layer: &str, role: Role, dims: &[usize]) -> Tensor {
    match role {
        Role::Weight => {
            let limit = glorot_limit(dims);
            let start = mix(seed ^ hash(layer));
            Tensor::from_fn(dims, |i| limit * uniform(start, i))
        }
        Role::Gamma | Role::Variance => Tensor::from_fn(dims, |_| 1.0),
        Role::Bias | Role::Beta | Role::Mean => Tensor::from_fn(dims, |_| 0.0),
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

/// A number of [-1, 1) from its index: the 24 bits that an `f32` can hold exactly.
fn uniform(start: u64, index: usize) -> f32 {
    let bits = mix(start.wrapping_add((index as u64).wrapping_mul(GOLDEN))) >> 40;
    bits as f32 * (2.0 / (1 << 24) as f32) - 1.0
}

/// The output function of `SplitMix64` (Steele, Lea & Flood 2014): every bit of the argument changes
/// half of the bits of the result.
const fn mix(mut bits: u64) -> u64 {
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^ (bits >> 31)
}

/// FNV-1a of a name. `std`'s hasher may change between versions of Rust, this must not.
fn hash(name: &str) -> u64 {
    name.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kernels_are_uniform_within_the_glorot_limit() {
        let dims = [64, 32, 3, 3];
        let kernel = parameter(7, "layer", Role::Weight, &dims);
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
        let kernel = parameter(0, "conv1", Role::Weight, &dims);
        assert_eq!(kernel, parameter(0, "conv1", Role::Weight, &dims), "again");
        assert_ne!(kernel, parameter(1, "conv1", Role::Weight, &dims), "seed");
        assert_ne!(kernel, parameter(0, "conv2", Role::Weight, &dims), "name");
        // Pinned: published measurements name a seed.
        assert_eq!(
            kernel.data()[..2],
            [0.678_197_1, 0.799_874_54],
            "first numbers of seed 0"
        );
    }
}
