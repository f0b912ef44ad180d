//! Resizing.

use super::layout::{Layout, Line};
use super::pool::each_row;
use crate::graph::Interpolation;
use crate::tensor::Shape;

/// An image of another size.
#[derive(Debug)]
pub(super) struct Resized {
    x: Layout,
    out: Layout,
    rows: Vec<Tap>,
    columns: Vec<Tap>,
}

/// The two rows or columns that one of the result lies between, and how far it is from the first.
#[derive(Clone, Copy, Debug)]
struct Tap {
    between: [usize; 2],
    fraction: f32,
}

impl Resized {
    pub(super) fn new(interpolation: Interpolation, [x, out]: [Shape; 2]) -> Self {
        Self {
            x: Layout::new(x),
            out: Layout::new(out),
            rows: taps(interpolation, x.h, out.h),
            columns: taps(interpolation, x.w, out.w),
        }
    }

    pub(super) fn run(&self, x: &[Line], out: &mut [Line]) {
        each_row([self.x, self.out], x, out, |[n, oy], x, out| {
            let Tap {
                between: [above, below],
                fraction,
            } = self.rows[oy];
            let row = |iy| &x[self.x.pixel(n, iy, 0)..][..self.x.shape.w];
            let [above_row, below_row] = [row(above), row(below)];
            for (out, column) in out.iter_mut().zip(&self.columns) {
                let upper = column.of(above_row);
                *out = if above == below {
                    upper
                } else {
                    mixed([upper, column.of(below_row)], fraction)
                };
            }
        });
    }
}

impl Tap {
    fn of(&self, line: &[Line]) -> Line {
        let [before, after] = self.between;
        if before == after {
            return line[before];
        }
        mixed([line[before], line[after]], self.fraction)
    }
}

fn mixed([before, after]: [Line; 2], fraction: f32) -> Line {
    before.zip(after, |before, after| before + (after - before) * fraction)
}

/// What each row or column of the result is made of, `to` of them from `size`.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "positions in the image are not negative"
)]
fn taps(interpolation: Interpolation, size: usize, to: usize) -> Vec<Tap> {
    let last = size - 1;
    let scale = size as f32 / to as f32;
    let tap = |o: usize| {
        let position = (o as f32 + 0.5) * scale;
        let [position, reach] = match interpolation {
            Interpolation::Nearest => [position, 0.0],
            Interpolation::Linear => [(position - 0.5).max(0.0), 1.0],
        };
        let before = (position as usize).min(last);
        let fraction = reach * position.fract();
        let after = before + usize::from(fraction > 0.0);
        Tap {
            between: [before, after.min(last)],
            fraction,
        }
    };
    (0..to).map(tap).collect()
}
