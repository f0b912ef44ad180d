//! Sum of two activations of the same shape, and ReLU.

use super::{clamped, round};
use crate::error::Error;
use crate::tensor::{Shape, Tensor};

pub(super) fn add(x: &Tensor, residual: &Tensor, relu: bool, out: Shape) -> Result<Tensor, Error> {
    let pairs = x.data().iter().zip(residual.data());
    let y: Vec<f32> = pairs
        .map(|(&x, &r)| {
            let sum = f64::from(x) + f64::from(r);
            round(if relu { clamped(sum) } else { sum })
        })
        .collect();
    Tensor::new(&out.dims(), y)
}

#[cfg(test)]
mod tests {
    use super::super::run;
    use super::*;
    use crate::graph::{Add, Graph, Op};

    fn sum(relu: bool) -> Vec<f32> {
        let mut graph = Graph::new();
        let shape = Shape::new(1, 1, 1, 3);
        let a = graph.input("a", shape).unwrap();
        let b = graph.input("b", shape).unwrap();
        let y = graph.add("y", Op::Add(Add { relu }), &[a, b]).unwrap();
        graph.mark_output(y).unwrap();
        let a = Tensor::new(&shape.dims(), vec![1.0, -2.0, 3.0]).unwrap();
        let b = Tensor::new(&shape.dims(), vec![10.0, 1.0, -5.0]).unwrap();
        let activations = run(&graph, &[a, b]).unwrap();
        activations.get(y).unwrap().data().to_vec()
    }

    #[test]
    fn relu_clamps_the_sum() {
        assert_eq!(sum(false), [11.0, -1.0, -2.0], "plain");
        assert_eq!(sum(true), [11.0, 0.0, 0.0], "clamped");
    }
}
