//! Convolution along the channels of vectors: `y[n,c] = Σ_j w[j] · x[n, c + j − taps/2]`, with
//! `x = 0` outside the channels.

use super::round;
use crate::error::Error;
use crate::tensor::{Shape, Tensor};

/// See the module.
pub(super) fn channel_conv(x: &Tensor, weight: &Tensor, out: Shape) -> Result<Tensor, Error> {
    let taps = weight.data().len();
    Ok(Tensor::from_fn(&out.dims(), |index| {
        let (n, c) = (index / out.c, index % out.c);
        let term = |j: usize| {
            let from = (c + j).checked_sub(taps / 2).filter(|&from| from < out.c);
            from.map_or(0.0, |from| {
                f64::from(weight.data()[j]) * f64::from(x.data()[n * out.c + from])
            })
        };
        round((0..taps).map(term).sum())
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernel_is_not_flipped_and_images_do_not_see_each_other() {
        let shape = Shape::new(2, 4, 1, 1);
        let x = Tensor::from_fn(&shape.dims(), |i| {
            [1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0][i]
        });
        let weight = Tensor::new(&[1, 1, 3], vec![100.0, 10.0, 1.0]).unwrap();
        let y = channel_conv(&x, &weight, shape).unwrap();
        let want = [12.0, 123.0, 234.0, 340.0, 56.0, 567.0, 678.0, 780.0];
        assert_eq!(y.data(), want, "zeros at both ends");
    }
}
