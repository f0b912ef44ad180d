//! `y = max(x, 0)`.

use crate::error::Error;
use crate::tensor::{Shape, Tensor};

pub(super) fn relu(x: &Tensor, out: Shape) -> Result<Tensor, Error> {
    let y: Vec<f32> = x
        .data()
        .iter()
        .map(|&x| if x < 0.0 { 0.0 } else { x })
        .collect();
    Tensor::new(&out.dims(), y)
}

#[cfg(test)]
mod tests {
    use super::super::tests::run_op;
    use crate::graph::{Graph, Op, Relu};
    use crate::tensor::Shape;

    #[test]
    fn negative_numbers_become_zero() {
        let x = [-1.0, 0.0, 2.5, -0.5];
        let y = run_op(
            &mut Graph::new(),
            Op::Relu(Relu),
            Shape::new(1, 2, 2, 1),
            &x,
        );
        assert_eq!(y, [0.0, 0.0, 2.5, 0.0], "clamped");
    }
}
