//! Mean over all pixels of an image, per channel.

use super::round;
use crate::error::Error;
use crate::tensor::{Shape, Tensor};

pub(super) fn global_avg_pool(x: &Tensor, out: Shape) -> Result<Tensor, Error> {
    let shape = x.shape()?;
    let planes = x.data().chunks_exact(shape.h * shape.w);
    let y: Vec<f32> = planes
        .map(|plane| {
            let sum: f64 = plane.iter().map(|&x| f64::from(x)).sum();
            round(sum / plane.len() as f64)
        })
        .collect();
    Tensor::new(&out.dims(), y)
}

#[cfg(test)]
mod tests {
    use super::super::tests::run_op;
    use crate::graph::{GlobalAvgPool, Graph, Op};
    use crate::tensor::Shape;

    #[test]
    fn one_mean_per_image_and_channel() {
        let x = [
            1.0, 2.0, 6.0, -1.0, -1.0, -4.0, 0.0, 0.0, 3.0, 5.0, 5.0, 5.0,
        ];
        let shape = Shape::new(2, 2, 1, 3);
        let y = run_op(
            &mut Graph::new(),
            Op::GlobalAvgPool(GlobalAvgPool),
            shape,
            &x,
        );
        assert_eq!(y, [3.0, -2.0, 1.0, 5.0], "means");
    }
}
