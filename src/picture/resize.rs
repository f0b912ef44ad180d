//! Resizes 8-bit images exactly as Pillow does.
//!
//! [`Axis::taps`] gives the weights. Pillow rounds to 8 bits twice, after each of the two passes.
//!
//! The horizontal pass comes first, as in Pillow up to version 12. Pillow 13 starts with the
//! vertical pass if the height shrinks more than twice as much as the width, and some pixels then
//! differ by one; at a fixed aspect ratio these are images more than twice as tall as wide.
//!
//! Only a rectangle of the resized image is computed. As passes are separable and pixels
//! independent, a crop gives the same pixels for less work, and a long thin image needs no memory
//! for what is cropped away.

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

/// An image that is resized while its rows arrive, top to bottom; no input row is stored.
pub(super) struct Resizer {
    rows: Vec<Tap>,
    columns: Vec<Tap>,
    /// Index of the next input row.
    next: usize,
    /// Number of output rows that are complete.
    done: usize,
    /// An input row, resized to the width of the output.
    wide: Vec<u8>,
    /// The output, as sums in fixed point.
    sums: Vec<i32>,
}

impl Resizer {
    /// Starts resizing; only these rows and columns of the output are computed.
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

    /// Adds the next input row to the output rows that depend on it.
    pub(super) fn push(&mut self, row: &[u8]) {
        let y = self.next;
        self.next += 1;
        let left = &self.rows[self.done..];
        self.done += left.iter().take_while(|tap| tap.end() <= y).count();
        let left = &self.rows[self.done..];
        let wanted = left.iter().take_while(|tap| tap.first <= y).count();
        // Rows that no output row depends on are not resampled.
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

    /// The resized image, once all rows have been pushed.
    pub(super) fn finish(self) -> Picture {
        Picture {
            height: self.rows.len(),
            width: self.columns.len(),
            rgb: self.sums.into_iter().map(byte).collect(),
        }
    }
}

/// One half in fixed point: added before truncation, so that it rounds to nearest.
const HALF: i32 = 1 << (PRECISION_BITS - 1);

#[expect(clippy::cast_sign_loss, reason = "clamped to a byte before")]
fn byte(sum: i32) -> u8 {
    (sum >> PRECISION_BITS).clamp(0, 255) as u8
}
