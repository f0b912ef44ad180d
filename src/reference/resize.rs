//! Resizing with pixels as areas: interpolation without averaging.

use super::round;
use crate::error::Error;
use crate::graph::Interpolation;
use crate::tensor::{Shape, Tensor};

/// See the module.
pub(super) fn resize(
    interpolation: Interpolation,
    x: &Tensor,
    out: Shape,
) -> Result<Tensor, Error> {
    let shape = x.shape()?;
    let mut y = Vec::with_capacity(out.len());
    for n in 0..out.n {
        for c in 0..out.c {
            let plane = (n * shape.c + c) * shape.h * shape.w;
            let pixel = |iy: usize, ix: usize| f64::from(x.data()[plane + iy * shape.w + ix]);
            for oy in 0..out.h {
                let [above, below] = sources(interpolation, oy, [shape.h, out.h]);
                for ox in 0..out.w {
                    let mut sum = 0.0;
                    for (iy, row) in [above, below] {
                        for (ix, column) in sources(interpolation, ox, [shape.w, out.w]) {
                            // An infinity with no weight has no effect.
                            if row * column > 0.0 {
                                sum += row * column * pixel(iy, ix);
                            }
                        }
                    }
                    y.push(round(sum));
                }
            }
        }
    }
    Tensor::new(&out.dims(), y)
}

/// The two rows or columns that one of the result is made of, and their weights.
///
/// Positions are in single precision, as in TensorFlow: where one falls between two pixels, its
/// rounding decides which of them is the nearest.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "positions in the image are not negative"
)]
fn sources(interpolation: Interpolation, o: usize, [size, to]: [usize; 2]) -> [(usize, f64); 2] {
    let position = (o as f32 + 0.5) * (size as f32 / to as f32);
    let last = size - 1;
    match interpolation {
        Interpolation::Nearest => {
            let nearest = (position.floor() as usize).min(last);
            [(nearest, 1.0), (nearest, 0.0)]
        }
        Interpolation::Linear => {
            // Counted from the centre of the first pixel instead of its edge.
            let position = (position - 0.5).max(0.0);
            let before = (position.floor() as usize).min(last);
            let weight = f64::from(position - position.floor());
            [(before, 1.0 - weight), ((before + 1).min(last), weight)]
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `tf.image.resize` of a row of pixels, in TensorFlow 2.
    fn check(interpolation: Interpolation, from: &[f32], want: &[f32]) {
        let x = Tensor::new(&[1, 1, 1, from.len()], from.to_vec()).unwrap();
        let y = resize(interpolation, &x, Shape::new(1, 1, 1, want.len())).unwrap();
        assert_eq!(y.data(), want, "{interpolation:?} to {}", want.len());
    }

    #[test]
    fn linear_weights_follow_the_distance_to_the_centres_and_edges_go_on() {
        let row = [0.0, 16.0, 64.0, 0.0];
        check(
            Interpolation::Linear,
            &row,
            &[0.0, 4.0, 12.0, 28.0, 52.0, 48.0, 16.0, 0.0],
        );
        check(Interpolation::Linear, &row, &[8.0, 32.0]);
        check(Interpolation::Linear, &row, &[40.0]);
        check(Interpolation::Linear, &row, &row);
    }

    #[test]
    fn the_later_of_two_equally_near_pixels_is_taken() {
        let row = [0.0, 1.0, 2.0, 3.0];
        check(Interpolation::Nearest, &row, &[1.0, 3.0]);
        check(Interpolation::Nearest, &row, &[2.0]);
        check(
            Interpolation::Nearest,
            &row,
            &[0.0, 0.0, 1.0, 2.0, 2.0, 3.0, 3.0],
        );
    }

    #[test]
    fn rows_and_columns_have_scales_of_their_own() {
        let x = Tensor::new(&[1, 1, 2, 2], vec![0.0, 4.0, 8.0, 12.0]).unwrap();
        let y = resize(Interpolation::Linear, &x, Shape::new(1, 1, 1, 4)).unwrap();
        assert_eq!(y.data(), [4.0, 5.0, 7.0, 8.0]);
    }
}
