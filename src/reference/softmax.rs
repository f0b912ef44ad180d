//! `exp(x) / Σ exp(x)` over the channels of each image.

use super::round;
use crate::error::Error;
use crate::tensor::{Shape, Tensor};

pub(super) fn softmax(x: &Tensor, out: Shape) -> Result<Tensor, Error> {
    let mut y = Vec::with_capacity(out.len());
    for x in x.data().chunks_exact(out.c) {
        // Subtracting the maximum does not change the result, but keeps `exp` from overflowing.
        let max = x.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let exps: Vec<f64> = x.iter().map(|&x| f64::from(x - max).exp()).collect();
        let sum: f64 = exps.iter().sum();
        y.extend(exps.iter().map(|&e| round(e / sum)));
    }
    Tensor::new(&out.dims(), y)
}

#[cfg(test)]
mod tests {
    use super::super::tests::run_op;
    use crate::graph::{Graph, Op, Softmax};
    use crate::tensor::Shape;

    #[test]
    fn large_logits_do_not_overflow() {
        let ln3 = 3.0f32.ln();
        let x = [0.0, ln3, 1000.0, 1000.0];
        let y = run_op(
            &mut Graph::new(),
            Op::Softmax(Softmax),
            Shape::new(2, 2, 1, 1),
            &x,
        );
        // A ratio of 1 to 3, and two equal scores.
        for (got, want) in y.iter().zip([0.25, 0.75, 0.5, 0.5]) {
            assert!((got - want).abs() <= 1e-7, "got {got}, want {want}");
        }
    }
}
