//! `y[n,co] = bias[co] + Σ_ci w[co,ci] · x[n,ci]`.

use super::round;
use crate::error::Error;
use crate::tensor::{Shape, Tensor};

pub(super) fn linear(
    x: &Tensor,
    weight: &Tensor,
    bias: Option<&Tensor>,
    out: Shape,
) -> Result<Tensor, Error> {
    let in_c = x.len() / out.n;
    let mut y = Vec::with_capacity(out.len());
    for n in 0..out.n {
        for co in 0..out.c {
            let mut sum = bias.map_or(0.0, |b| f64::from(b.data()[co]));
            for ci in 0..in_c {
                sum +=
                    f64::from(weight.data()[co * in_c + ci]) * f64::from(x.data()[n * in_c + ci]);
            }
            y.push(round(sum));
        }
    }
    Tensor::new(&out.dims(), y)
}

#[cfg(test)]
mod tests {
    use super::super::tests::run_op;
    use super::*;
    use crate::graph::{Graph, Linear, Op};

    #[test]
    fn rows_of_the_weight_are_outputs() {
        let mut graph = Graph::new();
        let weights = vec![1.0, 2.0, 3.0, -1.0, 0.0, 1.0];
        let weight = graph.param("w", Tensor::new(&[2, 3], weights).unwrap());
        let bias = graph.param("b", Tensor::new(&[2], vec![10.0, 20.0]).unwrap());
        let op = Op::Linear(Linear {
            weight,
            bias: Some(bias),
        });
        let x = [1.0, 10.0, 100.0, 2.0, 0.0, 1.0];
        let y = run_op(&mut graph, op, Shape::new(2, 3, 1, 1), &x);
        assert_eq!(y, [331.0, 119.0, 15.0, 19.0], "batch 2");
    }
}
