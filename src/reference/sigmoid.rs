//! `1 / (1 + exp(−x))`.

use super::round;
use crate::error::Error;
use crate::tensor::{Shape, Tensor};

/// See the module.
pub(super) fn sigmoid(x: &Tensor, out: Shape) -> Result<Tensor, Error> {
    let y = x.data().iter();
    let y = y.map(|&x| round(1.0 / (1.0 + (-f64::from(x)).exp())));
    Tensor::new(&out.dims(), y.collect::<Vec<_>>())
}

#[cfg(test)]
mod tests {
    use super::super::tests::run_op;
    use crate::graph::{Graph, Op, Sigmoid};
    use crate::tensor::Shape;

    #[test]
    fn each_score_has_its_own_probability() {
        let x = [0.0, 3.0f32.ln(), -1000.0, 1000.0];
        let op = Op::Sigmoid(Sigmoid);
        let y = run_op(&mut Graph::new(), op, Shape::new(2, 2, 1, 1), &x);
        for (got, want) in y.iter().zip([0.5, 0.75, 0.0, 1.0]) {
            assert!((got - want).abs() <= 1e-7, "got {got}, want {want}");
        }
    }
}
