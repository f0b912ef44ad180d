//! Resampling exactly as Pillow does for 8-bit images.
//!
//! Each output pixel is a weighted mean of input pixels; when shrinking, the filter is stretched by
//! the scale, so that every input pixel counts (antialiasing). Pillow computes the weights in 64-bit
//! floats, rounds them to 22-bit fixed point, and rounds to 8 bits twice: after the pass along the
//! rows and after the pass along the columns. [`Filter::Nearest`] is another algorithm: it walks
//! through the input in steps of the scale.
//!
//! The pass along the rows comes first, as in Pillow up to 12. Pillow 13 starts with the columns for
//! some pairs of sizes that change the proportions, which rounds differently; sizes that keep the
//! proportions, and so all of torchvision's, timm's and Hugging Face's rules, come out the same.
//!
//! Only a rectangle of the resized image is computed. The passes are separable and independent per
//! pixel, so that a crop is the same pixels for less work, and a long thin image needs no memory
//! for what is cropped away.

use super::{Picture, Rect};
use crate::preprocess::Filter;

/// Fraction bits of the weights: 32 less 8 for the pixel and 2 for weights that overshoot.
const PRECISION_BITS: u32 = 32 - 8 - 2;

/// The pixels of `rect` of the image resized to `size`, its rows and columns.
pub(super) fn resize(image: &Picture, size: [usize; 2], rect: Rect, filter: Filter) -> Picture {
    let rows = Axis {
        from: image.height,
        to: size[0],
        first: rect.top,
        count: rect.height,
    };
    let columns = Axis {
        from: image.width,
        to: size[1],
        first: rect.left,
        count: rect.width,
    };
    let rgb = if matches!(filter, Filter::Nearest) {
        nearest(image, rows, columns)
    } else {
        let rows = rows.taps(filter);
        // Rows that no output row reads are not resampled.
        let first = rows.iter().map(|tap| tap.first).min().unwrap_or(0);
        let end = rows.iter().map(Tap::end).max().unwrap_or(0);
        let wide = along_rows(image, first..end, &columns.taps(filter));
        along_columns(&wide, rect.width, first, &rows)
    };
    Picture {
        height: rect.height,
        width: rect.width,
        rgb,
    }
}

/// The part of one axis that is computed.
#[derive(Clone, Copy)]
struct Axis {
    /// Pixels of the input.
    from: usize,
    /// Pixels of the whole output.
    to: usize,
    /// First output pixel that is wanted.
    first: usize,
    /// Output pixels that are wanted.
    count: usize,
}

/// The input pixels that one output pixel is made of.
struct Tap {
    first: usize,
    weights: Vec<i32>,
}

impl Tap {
    const fn end(&self) -> usize {
        self.first + self.weights.len()
    }
}

impl Axis {
    fn scale(self) -> f64 {
        self.from as f64 / self.to as f64
    }

    /// The weights of every wanted output pixel.
    fn taps(self, filter: Filter) -> Vec<Tap> {
        // Pillow skips a pass that changes no size; the identity is what bicubic and Lanczos give
        // at scale 1 too, but only up to rounding.
        if self.from == self.to {
            let wanted = self.first..self.first + self.count;
            return wanted
                .map(|first| Tap {
                    first,
                    weights: vec![1 << PRECISION_BITS],
                })
                .collect();
        }
        let (kernel, support) = kernel(filter);
        let scale = self.scale();
        let stretch = scale.max(1.0);
        let support = support * stretch;
        let wanted = self.first..self.first + self.count;
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

    /// For every wanted output pixel, the input pixel under its centre. Pillow adds the scale up
    /// instead of multiplying, and so must this, because the sums round.
    fn nearest(self) -> Vec<usize> {
        let scale = self.scale();
        let mut position = scale * 0.5;
        let mut found = Vec::with_capacity(self.count);
        for x in 0..self.first + self.count {
            if x >= self.first {
                found.push(truncate(position).min(self.from - 1));
            }
            position += scale;
        }
        found
    }
}

fn nearest(image: &Picture, rows: Axis, columns: Axis) -> Vec<u8> {
    let columns = columns.nearest();
    let mut rgb = Vec::with_capacity(rows.count * columns.len() * 3);
    for y in rows.nearest() {
        let row = &image.rgb[y * image.width * 3..][..image.width * 3];
        for &x in &columns {
            rgb.extend_from_slice(&row[x * 3..][..3]);
        }
    }
    rgb
}

/// The pass along the rows: some rows of the input, as wide as the output.
fn along_rows(image: &Picture, rows: std::ops::Range<usize>, columns: &[Tap]) -> Vec<u8> {
    let mut rgb = Vec::with_capacity(rows.len() * columns.len() * 3);
    for y in rows {
        let row = &image.rgb[y * image.width * 3..][..image.width * 3];
        for tap in columns {
            let pixels = row[tap.first * 3..tap.end() * 3].as_chunks::<3>().0;
            let mut sums = [HALF; 3];
            for (pixel, weight) in pixels.iter().zip(&tap.weights) {
                for (sum, &value) in sums.iter_mut().zip(pixel) {
                    *sum += i32::from(value) * weight;
                }
            }
            rgb.extend(sums.map(byte));
        }
    }
    rgb
}

/// The pass along the columns. `first` is the row of the input that `wide` starts with.
fn along_columns(wide: &[u8], width: usize, first: usize, rows: &[Tap]) -> Vec<u8> {
    let row_len = width * 3;
    let mut rgb = Vec::with_capacity(rows.len() * row_len);
    let mut sums = vec![HALF; row_len];
    for tap in rows {
        sums.fill(HALF);
        let rows = wide[(tap.first - first) * row_len..].chunks_exact(row_len);
        for (row, weight) in rows.zip(&tap.weights) {
            for (sum, &value) in sums.iter_mut().zip(row) {
                *sum += i32::from(value) * weight;
            }
        }
        rgb.extend(sums.iter().map(|&sum| byte(sum)));
    }
    rgb
}

/// One half in fixed point: the start of a sum that is rounded by cutting its fraction off.
const HALF: i32 = 1 << (PRECISION_BITS - 1);

#[expect(clippy::cast_sign_loss, reason = "clamped to a byte before")]
fn byte(sum: i32) -> u8 {
    (sum >> PRECISION_BITS).clamp(0, 255) as u8
}

/// A weight in fixed point, rounded half away from zero.
#[expect(
    clippy::cast_possible_truncation,
    reason = "a weight is at most about 1, so that it keeps to 24 bits"
)]
fn fixed(weight: f64) -> i32 {
    let scaled = weight * f64::from(1 << PRECISION_BITS);
    (scaled + if weight < 0.0 { -0.5 } else { 0.5 }) as i32
}

/// C's conversion to an integer, then zero for what is below.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "positions in an image are small, and negative ones are meant to become zero"
)]
fn truncate(position: f64) -> usize {
    position as usize
}

/// The function of a filter and half the width of its support at scale 1.
fn kernel(filter: Filter) -> (fn(f64) -> f64, f64) {
    match filter {
        // `resize` takes the nearest pixel without weights; one pixel is the nearest thing.
        Filter::Nearest | Filter::Box => (boxcar, 0.5),
        Filter::Bilinear => (triangle, 1.0),
        Filter::Bicubic => (cubic, 2.0),
        Filter::Lanczos => (lanczos, 3.0),
    }
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
