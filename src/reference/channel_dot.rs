//! The dot product over channels of a gradient, or of its positive part, with an activation.

use super::round;
use crate::error::Error;
use crate::tensor::{Shape, Tensor};

pub(super) fn channel_dot(
    positive: bool,
    x: &Tensor,
    activation: &Tensor,
    out: Shape,
) -> Result<Tensor, Error> {
    let shape = x.shape()?;
    let plane = shape.h * shape.w;
    let mut y = Vec::with_capacity(out.len());
    for n in 0..shape.n {
        for pixel in 0..plane {
            let mut sum = 0.0;
            for c in 0..shape.c {
                let ix = (n * shape.c + c) * plane + pixel;
                let x = f64::from(x.data()[ix]);
                let factor = if positive { x.max(0.0) } else { x };
                sum += factor * f64::from(activation.data()[ix]);
            }
            y.push(round(sum));
        }
    }
    Tensor::new(&out.dims(), y)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn channels_are_summed_pixel_by_pixel() {
        let shape = Shape::new(1, 2, 1, 2);
        let tensor = |data: [f32; 4]| Tensor::new(&shape.dims(), data.to_vec()).unwrap();
        let (x, a) = (tensor([1.0, -2.0, 3.0, 4.0]), tensor([5.0, 6.0, 7.0, 8.0]));
        let out = Shape::new(1, 1, 1, 2);
        let y = channel_dot(false, &x, &a, out).unwrap();
        assert_eq!(y.data(), [26.0, 20.0], "all");
        let y = channel_dot(true, &x, &a, out).unwrap();
        assert_eq!(y.data(), [26.0, 32.0], "positive part");
    }
}
