//! Resizes a one-channel map smoothly to the size of an image.
//!
//! The values of the map are the coefficients of a cubic B-spline, which is evaluated at the centre
//! of each pixel; beyond its border, the map is continued with its outermost values. The spline is
//! smoother than the map: a single outlier becomes a hill of two thirds by two thirds of its
//! height. With stretching, the smallest and largest values of the spline at the map's own centres
//! become 0 and 1.

use super::round;
use crate::error::Error;
use crate::explain::Sites;
use crate::tensor::{Shape, Tensor};

/// The map of each image in a batch, `[n, 1, h, w]`, with pixels at `sites`, resized to height `h`
/// and width `w`.
///
/// # Errors
/// [`Error::Input`] if the tensor is not a map, or if the size is empty.
pub fn heat_map(
    map: &Tensor,
    sites: &Sites,
    [h, w]: [usize; 2],
    stretch: bool,
) -> Result<Tensor, Error> {
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
        let map = Map { plane, shape };
        let [low, scale] = if stretch { map.range() } else { [0.0, 1.0] };
        let place = |axis: usize, pixel: usize, pixels: usize| {
            let [scale, offset] = sites.scale_and_offset(axis, pixels);
            pixel as f64 * scale + offset
        };
        for oy in 0..h {
            for ox in 0..w {
                let value = map.at(place(0, oy, h), place(1, ox, w));
                y.push(round((value - low) * scale));
            }
        }
    }
    Tensor::new(&out.dims(), y)
}

/// The map of one image.
struct Map<'a> {
    plane: &'a [f32],
    shape: Shape,
}

impl Map<'_> {
    /// The value of the spline at a position, in units of map pixels.
    fn at(&self, y: f64, x: f64) -> f64 {
        let mut sum = 0.0;
        for (iy, down) in taps(y, self.shape.h) {
            for (ix, across) in taps(x, self.shape.w) {
                sum += down * across * f64::from(self.plane[iy * self.shape.w + ix]);
            }
        }
        sum
    }

    /// The smallest value, and the factor that stretches the range to 0..1, or 0 if constant.
    fn range(&self) -> [f64; 2] {
        let Shape { h, w, .. } = self.shape;
        let values = (0..h * w).map(|i| self.at((i / w) as f64, (i % w) as f64));
        let [low, high] = values.fold([f64::INFINITY, f64::NEG_INFINITY], |[low, high], value| {
            [value.min(low), value.max(high)]
        });
        let span = high - low;
        // Rounding makes a constant map not quite constant.
        let constant = span <= 1e-7 * high.abs().max(low.abs());
        [low, if constant { 0.0 } else { 1.0 / span }]
    }
}

/// The four values that contribute at a position, clamped to the border, and their weights by the
/// basis of uniform cubic B-splines.
fn taps(place: f64, values: usize) -> [(usize, f64); 4] {
    let first = place.floor();
    let way = place - first;
    let inner = |t: f64| (3.0 * t - 6.0) * t * t + 4.0;
    let weights = [
        (1.0 - way).powi(3),
        inner(way),
        inner(1.0 - way),
        way.powi(3),
    ];
    let last = (values - 1) as f64;
    let mut offset = -2.0;
    weights.map(|weight| {
        offset += 1.0;
        let value = (first + offset).clamp(0.0, last);
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "an integer between 0 and the last value"
        )]
        let value = value as usize;
        (value, weight / 6.0)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn painted(dims: [usize; 4], map: &[f32], size: [usize; 2], stretch: bool) -> Vec<f32> {
        let map = Tensor::new(&dims, map).unwrap();
        let even = Sites::even(size, [dims[2], dims[3]]);
        heat_map(&map, &even, size, stretch)
            .unwrap()
            .data()
            .to_vec()
    }

    fn assert_near(got: &[f32], want: &[f32]) {
        let near = |(a, b): (&f32, &f32)| (a - b).abs() < 1e-6;
        assert!(
            got.len() == want.len() && got.iter().zip(want).all(near),
            "{got:?}"
        );
    }

    #[test]
    fn pixels_show_the_spline_at_their_centres() {
        // At the map's own size, a value contributes four sixths, its neighbours one sixth each.
        let got = painted([1, 1, 1, 4], &[0.0, 6.0, 0.0, 0.0], [1, 4], false);
        assert_near(&got, &[1.0, 4.0, 1.0, 0.0]);
        let got = painted([1, 1, 3, 1], &[6.0, 0.0, 0.0], [3, 1], false);
        // The first value also extends beyond the border.
        assert_near(&got, &[5.0, 1.0, 0.0]);
        // Halfway between two values: 1, 23, 23 and 1 of 48.
        let got = painted([1, 1, 1, 2], &[0.0, 48.0], [1, 1], false);
        assert_near(&got, &[24.0]);
        let got = painted([1, 1, 1, 4], &[0.0, 0.0, 48.0, 0.0], [1, 2], false);
        assert_near(&got, &[1.0, 23.0]);
    }

    #[test]
    fn a_slope_stays_a_slope() {
        let map: Vec<f32> = (0u8..8).map(f32::from).collect();
        let got = painted([1, 1, 1, 8], &map, [1, 16], false);
        assert_near(&got[5..11], &[2.25, 2.75, 3.25, 3.75, 4.25, 4.75]);
    }

    #[test]
    fn each_image_is_stretched_by_its_own_values() {
        let got = painted([2, 1, 1, 2], &[1.0, 3.0, -4.0, -4.0], [1, 2], true);
        assert_near(&got, &[0.0, 1.0, 0.0, 0.0]);
    }

    #[test]
    fn what_is_no_map_is_refused() {
        let two = Tensor::new(&[1, 2, 1, 1], vec![0.0; 2]).unwrap();
        let even = Sites::even([4, 4], [1, 1]);
        assert!(
            heat_map(&two, &even, [4, 4], false).is_err(),
            "two channels"
        );
        let one = Tensor::new(&[1, 1, 1, 1], vec![0.0]).unwrap();
        assert!(heat_map(&one, &even, [4, 0], false).is_err(), "no pixels");
    }
}
