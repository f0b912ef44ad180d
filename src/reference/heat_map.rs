//! A map of one channel at the size of an image, interpolated bilinearly.
//!
//! A pixel shows the map at its centre; beyond the centres of the outermost values the map goes on
//! as it is there. Stretched, the smallest value of the map becomes 0 and the largest 1.

use super::round;
use crate::error::Error;
use crate::tensor::{Shape, Tensor};

/// The map of each image of a batch, `[n, 1, h, w]`, at another number of rows and columns.
///
/// # Errors
/// [`Error::Input`] for a tensor that is no map and for a size without pixels.
pub fn heat_map(map: &Tensor, [h, w]: [usize; 2], stretch: bool) -> Result<Tensor, Error> {
    let shape = map.shape()?;
    let out = Shape::new(shape.n, 1, h, w);
    if shape.c != 1 || shape.is_empty() || out.is_empty() {
        return Err(Error::Input {
            expected: "a map of one channel and a size with pixels".to_owned(),
            got: format!("{shape} for {h}x{w}"),
        });
    }
    let mut y = Vec::with_capacity(out.len());
    for plane in map.data().chunks_exact(shape.h * shape.w) {
        let [low, scale] = if stretch { range(plane) } else { [0.0, 1.0] };
        let at = |iy: usize, ix: usize| f64::from(plane[iy * shape.w + ix]);
        for oy in 0..h {
            let [above, below] = neighbours(oy, h, shape.h);
            for ox in 0..w {
                let [left, right] = neighbours(ox, w, shape.w);
                let mut value = 0.0;
                for (iy, fy) in [above, below] {
                    for (ix, fx) in [left, right] {
                        value += fy * fx * at(iy, ix);
                    }
                }
                y.push(round((value - low) * scale));
            }
        }
    }
    Tensor::new(&out.dims(), y)
}

/// The smallest value and what multiplies the difference to it; a constant map becomes 0.
fn range(plane: &[f32]) -> [f64; 2] {
    let low = plane.iter().copied().fold(f32::INFINITY, f32::min);
    let high = plane.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let span = f64::from(high) - f64::from(low);
    [f64::from(low), if span > 0.0 { 1.0 / span } else { 0.0 }]
}

/// The two values between which the centre of a pixel lies, and the weight of each.
fn neighbours(pixel: usize, pixels: usize, values: usize) -> [(usize, f64); 2] {
    let center = (pixel as f64 + 0.5) * values as f64 / pixels as f64 - 0.5;
    let last = values - 1;
    let first = (0..last).rev().find(|&i| i as f64 <= center).unwrap_or(0);
    let way = (center - first as f64).clamp(0.0, 1.0);
    [(first, 1.0 - way), (last.min(first + 1), way)]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn painted(dims: [usize; 4], map: &[f32], size: [usize; 2], stretch: bool) -> Vec<f32> {
        let map = Tensor::new(&dims, map).unwrap();
        heat_map(&map, size, stretch).unwrap().data().to_vec()
    }

    #[test]
    fn pixels_lie_between_the_values_at_their_centres() {
        // Two values at the quarters of the axis, four pixels at its eighths.
        let got = painted([1, 1, 1, 2], &[0.0, 8.0], [1, 4], false);
        assert_eq!(got, [0.0, 2.0, 6.0, 8.0], "along a row");
        let got = painted([1, 1, 2, 1], &[0.0, 8.0], [4, 1], false);
        assert_eq!(got, [0.0, 2.0, 6.0, 8.0], "along a column");
        let got = painted([1, 1, 1, 3], &[1.0, 5.0, 2.0], [1, 3], false);
        assert_eq!(got, [1.0, 5.0, 2.0], "at its own size");
    }

    #[test]
    fn each_image_is_stretched_by_its_own_values() {
        let got = painted([2, 1, 1, 2], &[1.0, 3.0, -4.0, -4.0], [1, 2], true);
        assert_eq!(got, [0.0, 1.0, 0.0, 0.0], "the second is constant");
    }

    #[test]
    fn what_is_no_map_is_refused() {
        let two = Tensor::new(&[1, 2, 1, 1], vec![0.0; 2]).unwrap();
        assert!(heat_map(&two, [4, 4], false).is_err(), "two channels");
        let one = Tensor::new(&[1, 1, 1, 1], vec![0.0]).unwrap();
        assert!(heat_map(&one, [4, 0], false).is_err(), "no pixels");
    }
}
