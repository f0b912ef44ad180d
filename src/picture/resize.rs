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
    let mut resizer = Resizer::new(rows, columns, filter);
    for row in image.rgb.chunks_exact(image.width * 3) {
        resizer.push(row);
    }
    resizer.finish()
}

/// An image that is resized while its rows arrive, from the top; no row is kept.
pub(super) struct Resizer {
    rows: Vec<Tap>,
    columns: Vec<Tap>,
    /// The next row of the input.
    next: usize,
    /// The rows of the output that need no more input.
    done: usize,
    /// A row of the input at the width of the output.
    wide: Vec<u8>,
    /// The output before rounding.
    sums: Vec<i32>,
}

impl Resizer {
    /// Starts to compute these rows and columns of the resized image.
    pub(super) fn new(rows: Axis, columns: Axis, filter: Filter) -> Self {
        Self {
            rows: rows.taps(filter),
            columns: columns.taps(filter),
            next: 0,
            done: 0,
            wide: Vec::new(),
            sums: vec![HALF; rows.count * columns.count * 3],
        }
    }

    /// Adds the next row of the input to the rows of the output that depend on it.
    pub(super) fn push(&mut self, row: &[u8]) {
        let y = self.next;
        self.next += 1;
        let left = &self.rows[self.done..];
        self.done += left.iter().take_while(|tap| tap.end() <= y).count();
        let left = &self.rows[self.done..];
        let wanted = left.iter().take_while(|tap| tap.first <= y).count();
        // Rows that no output row reads are not resampled.
        if wanted == 0 {
            return;
        }
        self.wide.clear();
        for tap in &self.columns {
            let pixels = row[tap.first * 3..tap.end() * 3].as_chunks::<3>().0;
            let mut sums = [HALF; 3];
            for (pixel, weight) in pixels.iter().zip(&tap.weights) {
                for (sum, &value) in sums.iter_mut().zip(pixel) {
                    *sum += i32::from(value) * weight;
                }
            }
            self.wide.extend(sums.map(byte));
        }
        let length = self.wide.len();
        let rows = self.sums[self.done * length..].chunks_exact_mut(length);
        for (tap, sums) in left.iter().take(wanted).zip(rows) {
            let weight = tap.weights[y - tap.first];
            for (sum, &value) in sums.iter_mut().zip(&self.wide) {
                *sum += i32::from(value) * weight;
            }
        }
    }

    /// The image, after all rows.
    pub(super) fn finish(self) -> Picture {
        Picture {
            height: self.rows.len(),
            width: self.columns.len(),
            rgb: self.sums.into_iter().map(byte).collect(),
        }
    }
}

/// One half in fixed point: added to a sum so that truncation rounds to nearest.
const HALF: i32 = 1 << (PRECISION_BITS - 1);

#[expect(clippy::cast_sign_loss, reason = "clamped to a byte before")]
fn byte(sum: i32) -> u8 {
    (sum >> PRECISION_BITS).clamp(0, 255) as u8
}
