//! Batch normalisation with running statistics or those of the batch, and ReLU.
//!
//! `y[n,c,..] = gamma[c] · (x[n,c,..] − mean[c]) / √(variance[c] + epsilon) + beta[c]`

use super::{clamped, round};
use crate::error::Error;
use crate::graph::{BatchNorm, Statistics};
use crate::tensor::{Shape, Tensor};

/// The parameters are gamma, beta, mean and variance.
pub(super) fn batch_norm(
    norm: &BatchNorm,
    x: &Tensor,
    params: [&Tensor; 4],
    out: Shape,
) -> Result<Tensor, Error> {
    let plane_len = out.h * out.w;
    let mut y = vec![0.0f32; out.len()];
    for c in 0..out.c {
        let [gamma, beta, mean, variance] = params.map(|p| f64::from(p.data()[c]));
        let [mean, variance] = match norm.statistics {
            Statistics::Running => [mean, variance],
            Statistics::Batch => statistics(x, out, c),
        };
        for n in 0..out.n {
            let scale = gamma / (variance + f64::from(norm.epsilon)).sqrt();
            let first = (n * out.c + c) * plane_len;
            let x = &x.data()[first..][..plane_len];
            for (y, &x) in y[first..][..plane_len].iter_mut().zip(x) {
                let value = scale * (f64::from(x) - mean) + beta;
                *y = round(if norm.relu { clamped(value) } else { value });
            }
        }
    }
    Tensor::new(&out.dims(), y)
}

/// Mean and variance of a channel over all images and pixels.
fn statistics(x: &Tensor, shape: Shape, c: usize) -> [f64; 2] {
    let plane_len = shape.h * shape.w;
    let values = || {
        let planes = (0..shape.n).map(|n| &x.data()[(n * shape.c + c) * plane_len..][..plane_len]);
        planes.flatten().map(|&x| f64::from(x))
    };
    let count = shape.pixels() as f64;
    let mean = values().sum::<f64>() / count;
    let variance = values().map(|x| (x - mean) * (x - mean)).sum::<f64>() / count;
    [mean, variance]
}

#[cfg(test)]
mod tests {
    use super::super::tests::run_op;
    use super::*;
    use crate::graph::{Graph, Op};

    fn normalised(relu: bool) -> Vec<f32> {
        let mut graph = Graph::new();
        let mut param = |name: &str, data: [f32; 2]| {
            graph.param(name, Tensor::new(&[2], data.to_vec()).unwrap())
        };
        let norm = BatchNorm {
            gamma: param("gamma", [2.0, 3.0]),
            beta: param("beta", [1.0, -1.0]),
            mean: param("mean", [10.0, 0.0]),
            variance: param("variance", [15.0, 0.0]),
            epsilon: 1.0,
            statistics: Statistics::Running,
            relu,
        };
        // Channel 0: 2·(x − 10)/4 + 1. Channel 1: 3·x/1 − 1.
        let x = [10.0, 14.0, 0.0, 1.0, 2.0, 6.0, -1.0, 2.0];
        run_op(&mut graph, Op::BatchNorm(norm), Shape::new(2, 2, 1, 2), &x)
    }

    #[test]
    fn every_channel_of_every_image_has_its_scale_and_shift() {
        let want = [1.0, 3.0, -1.0, 2.0, -3.0, -1.0, -4.0, 5.0];
        assert_eq!(normalised(false), want, "batch 2, two channels");
    }

    #[test]
    fn the_statistics_of_the_batch_are_over_images_and_pixels() {
        let mut graph = Graph::new();
        let mut param = |name: &str, data: [f32; 2]| {
            graph.param(name, Tensor::new(&[2], data.to_vec()).unwrap())
        };
        let never_read = param("running", [f32::NAN; 2]);
        let norm = BatchNorm {
            gamma: param("gamma", [2.0, 3.0]),
            beta: param("beta", [1.0, -1.0]),
            mean: never_read,
            variance: never_read,
            epsilon: 1.0,
            statistics: Statistics::Batch,
            relu: false,
        };
        // Channel 0: mean 5, squared distances 25, 5, 5 and 25, so variance 15. Channel 1: always
        // 2.
        let root = 5f32.sqrt();
        let x = [0.0, 5.0 - root, 2.0, 2.0, 5.0 + root, 10.0, 2.0, 2.0];
        let y = run_op(&mut graph, Op::BatchNorm(norm), Shape::new(2, 2, 1, 2), &x);
        // 2·(x − 5)/4 + 1; a constant channel leaves beta.
        let want = [
            -1.5,
            1.0 - root / 2.0,
            -1.0,
            -1.0,
            1.0 + root / 2.0,
            3.5,
            -1.0,
            -1.0,
        ];
        for (got, want) in y.iter().zip(want) {
            assert!((got - want).abs() < 1e-6, "{y:?}");
        }
    }

    #[test]
    fn relu_clamps_after_the_shift() {
        let want = [1.0, 3.0, 0.0, 2.0, 0.0, 0.0, 0.0, 5.0];
        assert_eq!(normalised(true), want, "clamped");
    }
}
