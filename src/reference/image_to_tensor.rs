//! Converts RGBA pixels to a normalised tensor of three channels.
//!
//! `y[n,c,iy,ix] = (x[n,iy,ix,c] / 255 − mean[c]) / std[c]`; alpha is dropped.

use super::round;
use crate::error::Error;
use crate::picture::Normalization;
use crate::tensor::{Shape, Tensor};

/// Converts 8-bit RGBA images, row by row, to a tensor of `shape`, which has three channels.
///
/// # Errors
/// [`Error::Input`] unless `shape` has three channels and `rgba` four bytes per pixel.
pub fn image_to_tensor(rgba: &[u8], shape: Shape, how: &Normalization) -> Result<Tensor, Error> {
    let bytes_len = shape.pixels() * 4;
    if shape.c != 3 || rgba.len() != bytes_len {
        return Err(Error::Input {
            expected: format!("three channels and {bytes_len} bytes of RGBA"),
            got: format!("{} channels and {} bytes", shape.c, rgba.len()),
        });
    }
    let mut y = Vec::with_capacity(shape.len());
    for n in 0..shape.n {
        for c in 0..3 {
            let byte = if how.swap_red_blue { 2 - c } else { c };
            let [mean, std] = [how.mean[c], how.std[c]].map(f64::from);
            for iy in 0..shape.h {
                for ix in 0..shape.w {
                    let pixel_ix = (n * shape.h + iy) * shape.w + ix;
                    let value = f64::from(rgba[pixel_ix * 4 + byte]) / 255.0;
                    y.push(round((value - mean) / std));
                }
            }
        }
    }
    Tensor::new(&shape.dims(), y)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Images of 1×2 pixels; 51 is a fifth of 255.
    const RGBA: [u8; 16] = [
        255, 0, 51, 9, 0, 255, 255, 9, 51, 51, 51, 9, 102, 153, 204, 9,
    ];

    fn normalised(swap_red_blue: bool) -> Vec<f32> {
        let how = Normalization {
            mean: [0.0, 1.0, 0.0],
            std: [1.0, 0.5, 0.25],
            swap_red_blue,
        };
        let tensor = image_to_tensor(&RGBA, Shape::new(2, 3, 1, 2), &how).unwrap();
        tensor.data().to_vec()
    }

    #[test]
    fn pixels_become_planes_and_alpha_is_dropped() {
        let want = [
            1.0, 0.0, -2.0, 0.0, 0.8, 4.0, 0.2, 0.4, -1.6, -0.8, 0.8, 3.2,
        ];
        assert_eq!(normalised(false), want, "red first");
    }

    #[test]
    fn swapping_moves_blue_to_channel_0_before_normalising() {
        let want = [
            0.2, 1.0, -2.0, 0.0, 4.0, 0.0, 0.2, 0.8, -1.6, -0.8, 0.8, 1.6,
        ];
        assert_eq!(normalised(true), want, "blue first");
    }

    #[test]
    fn bytes_of_the_wrong_number_are_refused() {
        let how = Normalization {
            mean: [0.0; 3],
            std: [1.0; 3],
            swap_red_blue: false,
        };
        assert!(
            image_to_tensor(&RGBA, Shape::new(1, 3, 1, 2), &how).is_err(),
            "too many bytes"
        );
        assert!(
            image_to_tensor(&RGBA, Shape::new(2, 4, 1, 2), &how).is_err(),
            "four channels"
        );
    }
}
