//! The 3×3 binomial filter, with reflection padding.

use super::round;
use crate::error::Error;
use crate::tensor::{Shape, Tensor};

/// See the module.
pub(super) fn blur_pool(stride: [usize; 2], x: &Tensor, out: Shape) -> Result<Tensor, Error> {
    const WEIGHTS: [f64; 3] = [0.25, 0.5, 0.25];
    let shape = x.shape()?;
    let mut y = Vec::with_capacity(out.len());
    for n in 0..out.n {
        for c in 0..out.c {
            let plane = (n * shape.c + c) * shape.h * shape.w;
            for oy in 0..out.h {
                for ox in 0..out.w {
                    let mut sum = 0.0;
                    for (ky, row) in WEIGHTS.iter().enumerate() {
                        let iy = mirrored(oy * stride[0] + ky, shape.h);
                        for (kx, column) in WEIGHTS.iter().enumerate() {
                            let ix = mirrored(ox * stride[1] + kx, shape.w);
                            let pixel = x.data()[plane + iy * shape.w + ix];
                            sum += row * column * f64::from(pixel);
                        }
                    }
                    y.push(round(sum));
                }
            }
        }
    }
    Tensor::new(&out.dims(), y)
}

/// The row or column of the image for a position in the padded image.
const fn mirrored(position: usize, size: usize) -> usize {
    match position {
        0 => 1,
        inside if inside <= size => inside - 1,
        _ => size - 2,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_filter_sums_to_one_and_mirrors_the_edges() {
        // NumPy: np.pad([[0, 16, 0, 0]] * 2, 1, mode="reflect"), filtered, every other column.
        let row = [0.0, 16.0, 0.0, 0.0];
        let x = Tensor::new(&[1, 1, 2, 4], [row, row].concat()).unwrap();
        let y = blur_pool([1, 2], &x, Shape::new(1, 1, 2, 2)).unwrap();
        assert_eq!(y.data(), [8.0, 4.0, 8.0, 4.0], "mirrored to the left");
        let ones = Tensor::from_fn(&[1, 2, 5, 3], |_| 1.0);
        let y = blur_pool([2, 2], &ones, Shape::new(1, 2, 3, 2)).unwrap();
        assert_eq!(y.data(), [1.0; 12], "a constant stays");
    }

    #[test]
    fn the_last_row_mirrors_the_one_before_it() {
        let x = Tensor::new(&[1, 1, 3, 2], vec![0.0, 0.0, 4.0, 4.0, 8.0, 8.0]).unwrap();
        let y = blur_pool([2, 1], &x, Shape::new(1, 1, 2, 2)).unwrap();
        assert_eq!(y.data(), [2.0, 2.0, 6.0, 6.0]);
    }
}
