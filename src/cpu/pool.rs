//! Pooling over windows and over whole images.

use std::ops::Range;

use rayon::prelude::*;

use super::layout::{Layout, Line};
use crate::graph::{PadValue, Window};

/// The pixels that are summed one after the other.
const PART: usize = 32;

/// How a pool reduces the pixels of a window.
#[derive(Clone, Copy, Debug)]
pub(super) enum Pool {
    Max(PadValue),
    Avg { count_padding: bool },
}

/// A pool over windows.
#[derive(Clone, Copy, Debug)]
pub(super) struct WindowPool {
    pub(super) window: Window,
    pub(super) pool: Pool,
    pub(super) x: Layout,
    pub(super) out: Layout,
}

impl WindowPool {
    pub(super) fn run(&self, x: &[Line], out: &mut [Line]) {
        each_row([self.x, self.out], x, out, |row, x, out| {
            self.run_row(row, x, out);
        });
    }

    fn run_row(&self, [n, oy]: [usize; 2], x: &[Line], out: &mut [Line]) {
        let Window {
            kernel,
            stride,
            padding,
        } = self.window;
        let area = kernel[0] * kernel[1];
        let rows = clipped(oy * stride[0], kernel[0], padding.top, self.x.shape.h);
        for (ox, out) in out.iter_mut().enumerate() {
            let columns = clipped(ox * stride[1], kernel[1], padding.left, self.x.shape.w);
            let seen = rows.len() * columns.len();
            let pixels = rows
                .clone()
                .flat_map(|iy| &x[self.x.pixel(n, iy, 0)..][columns.clone()]);
            *out = match self.pool {
                Pool::Max(pad_value) => {
                    let low = match pad_value {
                        PadValue::Zero if seen < area => 0.0,
                        PadValue::Zero | PadValue::NegInfinity => f32::NEG_INFINITY,
                    };
                    pixels.fold(Line([low; _]), |max, &x| max.zip(x, f32::max))
                }
                Pool::Avg { count_padding } => {
                    let count = if count_padding { area } else { seen };
                    mean(pixels, count)
                }
            };
        }
    }
}

/// A 3×3 binomial filter, with reflection padding.
#[derive(Clone, Copy, Debug)]
pub(super) struct BlurredPool {
    pub(super) stride: [usize; 2],
    pub(super) x: Layout,
    pub(super) out: Layout,
}

impl BlurredPool {
    pub(super) fn run(&self, x: &[Line], out: &mut [Line]) {
        each_row([self.x, self.out], x, out, |[n, oy], x, out| {
            let rows = around(oy * self.stride[0], self.x.shape.h);
            let rows = rows.map(|iy| &x[self.x.pixel(n, iy, 0)..][..self.x.shape.w]);
            for (ox, out) in out.iter_mut().enumerate() {
                let columns = around(ox * self.stride[1], self.x.shape.w);
                *out = blurred(rows.map(|row| blurred(columns.map(|ix| row[ix]))));
            }
        });
    }
}

/// The index of a row or column and those of its neighbours, reflected at the edges.
fn around(center: usize, size: usize) -> [usize; 3] {
    let before = center.checked_sub(1).unwrap_or(1);
    let after = if center + 1 < size {
        center + 1
    } else {
        size - 2
    };
    [before, center, after]
}

fn blurred([before, center, after]: [Line; 3]) -> Line {
    let sides = before.zip(after, |before, after| 0.25 * (before + after));
    sides.zip(center, |sides, center| sides + 0.5 * center)
}

/// Computes every row of a result separately: `run` gets the image and the row, the plane of `x`,
/// and the row to fill.
pub(super) fn each_row(
    [from, to]: [Layout; 2],
    x: &[Line],
    out: &mut [Line],
    run: impl Fn([usize; 2], &[Line], &mut [Line]) + Sync,
) {
    let shape = to.shape;
    out.par_chunks_exact_mut(to.plane())
        .zip(x.par_chunks_exact(from.plane()))
        .for_each(|(out, x)| {
            let rows = out[..shape.pixels()].par_chunks_exact_mut(shape.w);
            rows.enumerate().for_each(|(row, out)| {
                run([row / shape.h, row % shape.h], x, out);
            });
        });
}

/// The range of a window that is inside the image; `start` counts from the edge of the padding.
fn clipped(start: usize, kernel: usize, padding: usize, size: usize) -> Range<usize> {
    start.saturating_sub(padding)..(start + kernel).saturating_sub(padding).min(size)
}

fn mean<'a>(pixels: impl Iterator<Item = &'a Line>, count: usize) -> Line {
    let count = count as f32;
    sum(pixels).map(|sum| sum / count)
}

fn sum<'a>(pixels: impl Iterator<Item = &'a Line>) -> Line {
    pixels.fold(Line::ZERO, |sum, &x| sum.zip(x, |sum, x| sum + x))
}

/// The sum of many pixels: of the sums of parts, so that rounding does not grow with every pixel. Networks that
/// normalise what they average, as selective kernels do, multiply the error by hundreds.
fn long_sum(pixels: &[Line]) -> Line {
    let parts: Vec<Line> = pixels.chunks(PART).map(|part| sum(part.iter())).collect();
    match parts.len() {
        0..=PART => sum(parts.iter()),
        _ => long_sum(&parts),
    }
}

/// Averages all pixels of each image; `out` has one pixel per image.
pub(super) fn global_avg(layout: Layout, x: &[Line], out: &mut [Line]) {
    let image = layout.shape.h * layout.shape.w;
    out.par_chunks_exact_mut(layout.shape.n + 1)
        .zip(x.par_chunks_exact(layout.plane()))
        .for_each(|(out, x)| {
            for (out, x) in out.iter_mut().zip(x.chunks_exact(image)) {
                let count = image as f32;
                *out = long_sum(x).map(|sum| sum / count);
            }
        });
}
