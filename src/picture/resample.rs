//! The input pixels that each pixel of a resized image is computed from, and their weights.
//!
//! The weights are exactly Pillow's for 8-bit images: [`crate::picture`] applies them on the CPU,
//! `gpu` to the host's textures. Each output pixel is a weighted mean of input pixels; when
//! shrinking, the filter is widened by the scale, so that every input pixel counts (antialiasing).
//! Pillow computes weights in 64-bit floats and rounds them to fixed point with 22 fraction bits.
//! [`Filter::Nearest`] works differently: it steps through the input by the scale.

use std::ops::Range;

use crate::picture::{Crop, Filter, Preprocess, Resize};

/// Fraction bits of a weight: 32 minus 8 for the pixel and 2 for filters that overshoot.
pub(crate) const PRECISION_BITS: u32 = 32 - 8 - 2;

/// One axis of a resize, and the part of the output that is computed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Axis {
    /// Length of the input.
    pub(crate) from: usize,
    /// Length of the whole output.
    pub(crate) to: usize,
    /// The first output pixel that is computed.
    pub(crate) first: usize,
    /// The number of output pixels that are computed.
    pub(crate) count: usize,
}

/// The input pixels that one output pixel is computed from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Tap {
    /// Index of the first input pixel.
    pub(crate) first: usize,
    /// The weights of consecutive input pixels, in units of 2^−[`PRECISION_BITS`].
    pub(crate) weights: Vec<i32>,
}

impl Tap {
    /// Copies a single pixel.
    fn copy(first: usize) -> Self {
        Self {
            first,
            weights: vec![1 << PRECISION_BITS],
        }
    }

    /// One past the last input pixel.
    pub(crate) const fn end(&self) -> usize {
        self.first + self.weights.len()
    }
}

impl Axis {
    /// The whole of an axis.
    #[cfg(feature = "image")]
    pub(crate) const fn whole(from: usize, to: usize) -> Self {
        Self {
            from,
            to,
            first: 0,
            count: to,
        }
    }

    /// The input pixels that correspond to the computed part of the output, at least one.
    pub(crate) fn source(self) -> Range<usize> {
        let at = |x: usize| (x * self.from + self.to / 2) / self.to;
        let first = at(self.first).min(self.from - 1);
        first..at(self.first + self.count).max(first + 1)
    }

    /// No output pixel of this axis reads more input pixels, and none of a shorter input that is resized
    /// by the same rules.
    pub(crate) fn most_weights(self, filter: Filter) -> usize {
        let support = kernel(filter).map_or(0.0, |(_, support)| support);
        // Rules that keep the proportions round sizes, and so the scale.
        let stretch = self.scale().max(1.0) * 1.01;
        truncate((2.0 * support * stretch).ceil()) + 2
    }

    fn scale(self) -> f64 {
        self.from as f64 / self.to as f64
    }

    /// The weights of every computed output pixel.
    pub(crate) fn taps(self, filter: Filter) -> Vec<Tap> {
        let wanted = self.first..self.first + self.count;
        // Pillow skips a pass that leaves the size unchanged. Bicubic and Lanczos would give the
        // identity too, but only up to rounding.
        if self.from == self.to {
            return wanted.map(Tap::copy).collect();
        }
        let Some((kernel, support)) = kernel(filter) else {
            return self.nearest();
        };
        let scale = self.scale();
        let stretch = scale.max(1.0);
        let support = support * stretch;
        wanted
            .map(|x| {
                let center = (x as f64 + 0.5) * scale;
                let first = truncate(center - support + 0.5);
                let end = truncate(center + support + 0.5).min(self.from);
                let weight = |x: usize| kernel((x as f64 - center + 0.5) * (1.0 / stretch));
                let weights: Vec<f64> = (first..end).map(weight).collect();
                let sum: f64 = weights.iter().sum();
                let weights = weights
                    .iter()
                    .map(|w| fixed(if sum == 0.0 { *w } else { w / sum }))
                    .collect();
                Tap { first, weights }
            })
            .collect()
    }

    /// The input pixel under the centre of each computed output pixel. Pillow adds up the scale
    /// instead of multiplying, so this must too, because the sums are rounded.
    fn nearest(self) -> Vec<Tap> {
        let scale = self.scale();
        let mut position = scale * 0.5;
        let mut found = Vec::with_capacity(self.count);
        for x in 0..self.first + self.count {
            if x >= self.first {
                found.push(Tap::copy(truncate(position).min(self.from - 1)));
            }
            position += scale;
        }
        found
    }
}

/// The rows and columns of an image of height `h` and width `w` that the network gets. With
/// [`Resize::Contain`] they may be fewer than it expects; padding is then added.
pub(crate) fn fit([h, w]: [usize; 2], rules: &Preprocess) -> [Axis; 2] {
    let full = match rules.resize {
        Resize::Squash | Resize::Keep | Resize::ShortEdge(_) => rules.size,
        Resize::SquashTo(target) => target,
        Resize::Cover(cover) => covering([h, w], cover),
        Resize::Contain(target) => keeping([h, w], target, f64::max),
    };
    let axis = |from, to: usize, wanted: usize| Axis {
        from,
        to,
        first: margin(to.saturating_sub(wanted), rules.crop),
        count: wanted.min(to),
    };
    [
        axis(h, full[0], rules.size[0]),
        axis(w, full[1], rules.size[1]),
    ]
}

/// The smallest size with the image's aspect ratio that covers a rectangle. For a square, one side
/// fits exactly, and the other is truncated as by torchvision's `int(edge * long / short)`.
fn covering([h, w]: [usize; 2], [cover_h, cover_w]: [usize; 2]) -> [usize; 2] {
    if cover_h != cover_w {
        return keeping([h, w], [cover_h, cover_w], f64::min);
    }
    if h <= w {
        [cover_h, cover_h * w / h]
    } else {
        [cover_w * h / w, cover_w]
    }
}

/// A size with the image's aspect ratio that matches one side of a rectangle, rounded as by timm's
/// `ResizeKeepRatio`; `choose` selects one of the two scales.
fn keeping(from: [usize; 2], to: [usize; 2], choose: fn(f64, f64) -> f64) -> [usize; 2] {
    let scale = |axis: usize| from[axis] as f64 / to[axis] as f64;
    let ratio = choose(scale(0), scale(1));
    from.map(|side| truncate((side as f64 / ratio).round_ties_even()).max(1))
}

/// The part of the margin that is cut off before the centre.
const fn margin(cut: usize, crop: Crop) -> usize {
    let half = cut / 2;
    match crop {
        Crop::Floor => half,
        // Python rounds ties to even.
        Crop::Round => half + (cut % 2) * (half % 2),
    }
}

/// A weight in fixed point, with ties rounded away from zero.
#[expect(
    clippy::cast_possible_truncation,
    reason = "a weight is at most about 1, so that it keeps to 24 bits"
)]
fn fixed(weight: f64) -> i32 {
    let scaled = weight * f64::from(1 << PRECISION_BITS);
    (scaled + if weight < 0.0 { -0.5 } else { 0.5 }) as i32
}

/// Converts to an integer as C does, with negative numbers clamped to zero.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "positions in an image are small, and negative ones are meant to become zero"
)]
fn truncate(position: f64) -> usize {
    position as usize
}

/// A filter: weight as a function of the distance in pixels.
type Kernel = fn(f64) -> f64;

/// The function of a filter, and half the width of its support at scale 1; `None` for nearest
/// neighbour, which has no weights.
fn kernel(filter: Filter) -> Option<(Kernel, f64)> {
    Some(match filter {
        Filter::Nearest => return None,
        Filter::Box => (boxcar as Kernel, 0.5),
        Filter::Bilinear => (triangle, 1.0),
        Filter::Bicubic => (cubic, 2.0),
        Filter::Hamming => (hamming, 1.0),
        Filter::Lanczos => (lanczos, 3.0),
    })
}

fn boxcar(x: f64) -> f64 {
    if x > -0.5 && x <= 0.5 { 1.0 } else { 0.0 }
}

fn triangle(x: f64) -> f64 {
    let x = x.abs();
    if x < 1.0 { 1.0 - x } else { 0.0 }
}

/// Keys' cubic convolution with a = −0.5.
fn cubic(x: f64) -> f64 {
    const A: f64 = -0.5;
    let x = x.abs();
    if x < 1.0 {
        ((A + 2.0) * x - (A + 3.0)) * x * x + 1.0
    } else if x < 2.0 {
        (((x - 5.0) * x + 8.0) * x - 4.0) * A
    } else {
        0.0
    }
}

/// A sinc with a Hamming window.
fn hamming(x: f64) -> f64 {
    let x = x.abs();
    if x >= 1.0 {
        return 0.0;
    }
    // Pillow stores these two constants as 32-bit floats.
    let window = |x: f64| f64::from(0.54f32) + f64::from(0.46f32) * x.cos();
    sinc(x) * window(x * std::f64::consts::PI)
}

fn lanczos(x: f64) -> f64 {
    if (-3.0..3.0).contains(&x) {
        sinc(x) * sinc(x / 3.0)
    } else {
        0.0
    }
}

fn sinc(x: f64) -> f64 {
    if x == 0.0 {
        return 1.0;
    }
    let x = x * std::f64::consts::PI;
    x.sin() / x
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_torchvisions() {
        for (size, expected) in [
            // Short edge to 256, long edge int(256 * long / short).
            ([480, 640], [256, 341]),
            ([640, 480], [341, 256]),
            ([500, 333], [384, 256]),
            ([100, 100], [256, 256]),
            ([1, 3], [256, 768]),
        ] {
            assert_eq!(covering(size, [256, 256]), expected, "{size:?}");
        }
        assert_eq!(covering([100, 100], [64, 128]), [128, 128], "not square");
        assert_eq!(
            covering([100, 300], [64, 128]),
            [64, 192],
            "not square, wide"
        );
    }

    #[test]
    fn margins_round_halves_to_even_or_down() {
        // Python: [round(d / 2) for d in range(8)].
        let rounded = [0, 0, 1, 2, 2, 2, 3, 4];
        for (cut, expected) in rounded.into_iter().enumerate() {
            assert_eq!(margin(cut, Crop::Round), expected, "{cut}");
            assert_eq!(margin(cut, Crop::Floor), cut / 2, "{cut}");
        }
    }
}
