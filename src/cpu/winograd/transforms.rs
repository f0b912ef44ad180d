//! The transforms of Winograd's algorithm, with the vector instructions of the machine.

use std::f32::consts::{FRAC_1_SQRT_2, SQRT_2};
use std::ops::Range;

use pulp::{Simd, WithSimd};

use super::{PATCH, POSITIONS, SQUARE, Winograd};
use crate::cpu::conv2d::Geometry;
use crate::cpu::layout::{LANES, Layout, Line};
use crate::graph::Padding;

/// Computes `Bᵀ d B` for one block of channels.
pub(super) struct InputTransform<'a> {
    pub(super) winograd: &'a Winograd,
    pub(super) stripe: Range<usize>,
    pub(super) x: &'a [Line],
    /// `[position][square]`.
    pub(super) patches: &'a mut [Line],
}

impl WithSimd for InputTransform<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let squares = self.winograd.squares;
        let Geometry {
            x: shape, window, ..
        } = self.winograd.geometry;
        let Padding { top, left, .. } = window.padding;
        let layout = Layout::new(shape);
        // Loops, not `map`: its closures are compiled without the vector instructions of `S`.
        let zero = simd.splat_f32s(0.0);
        for (slot, square) in self.stripe.enumerate() {
            let [n, oy, ox] = squares.corner(square);
            let mut patch = [[&Line::ZERO; PATCH]; PATCH];
            for (dy, row) in patch.iter_mut().enumerate() {
                let iy = (oy + dy).wrapping_sub(top);
                if iy < shape.h {
                    let source = &self.x[layout.pixel(n, iy, 0)..][..shape.w];
                    for (dx, line) in row.iter_mut().enumerate() {
                        if let Some(pixel) = source.get((ox + dx).wrapping_sub(left)) {
                            *line = pixel;
                        }
                    }
                }
            }
            for part in 0..LANES / S::F32_LANES {
                let mut rows = [[zero; PATCH]; PATCH];
                for (row, lines) in rows.iter_mut().zip(&patch) {
                    for (value, line) in row.iter_mut().zip(lines) {
                        *value = load(simd, line, part);
                    }
                    *row = input_transform(simd, *row);
                }
                for px in 0..PATCH {
                    let mut column = [zero; PATCH];
                    for (value, row) in column.iter_mut().zip(&rows) {
                        *value = row[px];
                    }
                    let column = input_transform(simd, column);
                    for (py, value) in column.into_iter().enumerate() {
                        let line = &mut self.patches[(py * PATCH + px) * squares.plane + slot];
                        S::as_mut_simd_f32s(&mut line.0).0[part] = value;
                    }
                }
            }
        }
    }
}

/// Computes `Aᵀ m A` for one block of channels, and the epilogue of the convolution.
pub(super) struct OutputTransform<'a> {
    pub(super) winograd: &'a Winograd,
    pub(super) stripe: Range<usize>,
    /// `[position][square]`.
    pub(super) sums: &'a [Line],
    pub(super) bias: &'a Line,
    pub(super) residual: Option<&'a [Line]>,
    pub(super) out: &'a mut [Line],
}

impl WithSimd for OutputTransform<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let squares = self.winograd.squares;
        let layout = Layout::new(self.winograd.geometry.out);
        let low = if self.winograd.geometry.relu {
            0.0
        } else {
            f32::NEG_INFINITY
        };
        let low = simd.splat_f32s(low);
        let zero = simd.splat_f32s(0.0);
        for (slot, square) in self.stripe.enumerate() {
            let [n, oy, ox] = squares.corner(square);
            let width = SQUARE.min(layout.shape.w - ox);
            let height = SQUARE.min(layout.shape.h - oy);
            for part in 0..LANES / S::F32_LANES {
                let bias = load(simd, self.bias, part);
                let mut rows = [[zero; SQUARE]; PATCH];
                for (py, row) in rows.iter_mut().enumerate() {
                    let mut sums = [zero; PATCH];
                    for (px, sum) in sums.iter_mut().enumerate() {
                        let line = &self.sums[(py * PATCH + px) * squares.plane + slot];
                        *sum = load(simd, line, part);
                    }
                    *row = output_transform(simd, sums);
                }
                for dx in 0..width {
                    let mut column = [zero; PATCH];
                    for (value, row) in column.iter_mut().zip(&rows) {
                        *value = row[dx];
                    }
                    let column = output_transform(simd, column);
                    for (dy, &sum) in column[..height].iter().enumerate() {
                        let pixel = layout.pixel(n, oy + dy, ox + dx);
                        let mut sum = simd.add_f32s(sum, bias);
                        if let Some(residual) = self.residual {
                            sum = simd.add_f32s(sum, load(simd, &residual[pixel], part));
                        }
                        let out = S::as_mut_simd_f32s(&mut self.out[pixel].0).0;
                        // Returns the second one if either is NaN, which must be kept.
                        out[part] = simd.max_f32s(low, sum);
                    }
                }
            }
        }
    }
}

#[inline(always)]
fn load<S: Simd>(_: S, line: &Line, part: usize) -> S::f32s {
    S::as_simd_f32s(&line.0).0[part]
}

/// Computes `G g Gᵀ`.
pub(super) fn transform_kernel(kernel: &[f32; 9]) -> [f32; POSITIONS] {
    let [a, b] = [FRAC_1_SQRT_2, SQRT_2].map(f64::from);
    let transform = |[g0, g1, g2]: [f64; 3]| {
        let [near, far] = [g0 + g2 / 2.0, g0 + g2 * 2.0];
        [
            g0,
            (near + a * g1) / -1.5,
            (near - a * g1) / -1.5,
            (far + b * g1) / 6.0,
            (far - b * g1) / 6.0,
            g2,
        ]
    };
    let columns: [[f64; PATCH]; 3] = std::array::from_fn(|kx| {
        transform(std::array::from_fn(|ky| f64::from(kernel[ky * 3 + kx])))
    });
    let mut result = [0.0; POSITIONS];
    for (py, result) in result.chunks_exact_mut(PATCH).enumerate() {
        let row = transform(columns.map(|column| column[py]));
        for (result, value) in result.iter_mut().zip(row) {
            *result = crate::reference::round(value);
        }
    }
    result
}

/// Multiplies six vectors by `Bᵀ`.
#[inline(always)]
fn input_transform<S: Simd>(simd: S, d: [S::f32s; PATCH]) -> [S::f32s; PATCH] {
    let [d0, d1, d2, d3, d4, d5] = d;
    let plus = |x, factor, y| simd.mul_add_e_f32s(simd.splat_f32s(factor), y, x);
    let times = |factor, y| simd.mul_f32s(simd.splat_f32s(factor), y);
    let even = plus(d4, -2.0, d2);
    let odd = times(FRAC_1_SQRT_2, plus(d3, -2.0, d1));
    let far_even = plus(d4, -0.5, d2);
    let far_odd = times(SQRT_2, plus(d3, -0.5, d1));
    [
        plus(simd.add_f32s(d0, d4), -2.5, d2),
        simd.add_f32s(even, odd),
        simd.sub_f32s(even, odd),
        simd.add_f32s(far_even, far_odd),
        simd.sub_f32s(far_even, far_odd),
        plus(simd.add_f32s(d1, d5), -2.5, d3),
    ]
}

/// Multiplies six vectors by `Aᵀ`.
#[inline(always)]
fn output_transform<S: Simd>(simd: S, m: [S::f32s; PATCH]) -> [S::f32s; SQUARE] {
    let [m0, m1, m2, m3, m4, m5] = m;
    let plus = |x, factor, y| simd.mul_add_e_f32s(simd.splat_f32s(factor), y, x);
    let times = |factor, y| simd.mul_f32s(simd.splat_f32s(factor), y);
    let sum = simd.add_f32s(m1, m2);
    let difference = times(FRAC_1_SQRT_2, simd.sub_f32s(m1, m2));
    let far_sum = simd.add_f32s(m3, m4);
    let far_difference = times(SQRT_2, simd.sub_f32s(m3, m4));
    [
        simd.add_f32s(m0, simd.add_f32s(sum, far_sum)),
        simd.add_f32s(difference, far_difference),
        plus(times(0.5, sum), 2.0, far_sum),
        plus(plus(m5, 0.5, difference), 2.0, far_difference),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    use pulp::Scalar;

    #[test]
    fn the_transforms_together_are_a_correlation() {
        // The image's row 1 is d: output row 0 sees it through the middle row of the kernel.
        let d = [1.0, 2.0, 4.0, 8.0, 16.0, 32.0];
        let kernel = [9.0, 9.0, 9.0, 3.0, 5.0, 7.0, 9.0, 9.0, 9.0];
        let u = transform_kernel(&kernel);
        let along_row = input_transform(Scalar, d);
        let along_column = input_transform(Scalar, [0.0, 1.0, 0.0, 0.0, 0.0, 0.0]);
        let rows: [f32; PATCH] = std::array::from_fn(|py| {
            let products =
                std::array::from_fn(|px| u[py * PATCH + px] * along_row[px] * along_column[py]);
            output_transform(Scalar, products)[2]
        });
        let y = output_transform(Scalar, rows);
        let want = 3.0 * 4.0 + 5.0 * 8.0 + 7.0 * 16.0;
        assert!((y[0] - want).abs() < 1e-4, "got {}, want {want}", y[0]);
    }
}
