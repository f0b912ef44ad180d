//! The gradient of a ReLU: `y = x` where the activation is positive, 0 elsewhere.

use crate::error::Error;
use crate::tensor::{Shape, Tensor};

pub(super) fn relu_gradient(x: &Tensor, activation: &Tensor, out: Shape) -> Result<Tensor, Error> {
    let pairs = x.data().iter().zip(activation.data());
    let y: Vec<f32> = pairs
        .map(|(&x, &a)| if a > 0.0 { x } else { 0.0 })
        .collect();
    Tensor::new(&out.dims(), y)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_comes_back_passes_where_the_activation_is_positive() {
        let shape = Shape::new(1, 2, 1, 2);
        let tensor = |data: [f32; 4]| Tensor::new(&shape.dims(), data.to_vec()).unwrap();
        let activation = tensor([1.0, 0.0, -1.0, 0.5]);
        let y = relu_gradient(&tensor([-3.0, 4.0, 5.0, 6.0]), &activation, shape).unwrap();
        assert_eq!(y.data(), [-3.0, 0.0, 0.0, 6.0], "zero is not positive");
    }
}
