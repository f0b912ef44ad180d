//! Resizes 8-bit images exactly as Pillow does.
//!
//! [`Axis::taps`] gives the weights. Pillow rounds to 8 bits twice: after the pass along the rows
//! and after the pass along the columns.
//!
//! The pass along the rows comes first, as in Pillow up to 12. Pillow 13 starts with the columns if
//! an image loses more than twice as many rows as columns, and some pixels then differ by one; with
//! a fixed aspect ratio these are images more than twice as tall as wide.
//!
//! Only a rectangle of the resized image is computed. The passes are separable and independent per
//! pixel, so a crop gives the same pixels for less work, and a long thin image needs no memory for
//! what is cropped away.

use super::Picture;
use crate::picture::Filter;
use crate::picture::resample::{Axis, PRECISION_BITS, Tap};

/// Computes a range of rows and columns of the resized image.
pub(super) fn resize(image: &Picture, rows: Axis, columns: Axis, filter: Filter) -> Picture {
    let taps = rows.taps(filter);
    // Rows that no output row reads are not resampled.
    let first = taps.iter().map(|tap| tap.first).min().unwrap_or(0);
    let end = taps.iter().map(Tap::end).max().unwrap_or(0);
    let wide = along_rows(image, first..end, &columns.taps(filter));
    Picture {
        height: rows.count,
        width: columns.count,
        rgb: along_columns(&wide, columns.count, first, &taps),
    }
}

/// The pass along the rows: a range of input rows, as wide as the output.
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

/// The pass along the columns. `first` is the input row that `wide` starts with.
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

/// One half in fixed point: added to a sum so that truncation rounds to nearest.
const HALF: i32 = 1 << (PRECISION_BITS - 1);

#[expect(clippy::cast_sign_loss, reason = "clamped to a byte before")]
fn byte(sum: i32) -> u8 {
    (sum >> PRECISION_BITS).clamp(0, 255) as u8
}
