//! 3×3 convolutions of stride 1 by F(4×4, 3×3) (Lavin & Gray 2015, arXiv:1509.09308): 36 products
//! where the direct way takes 144.
//!
//! The output is cut into squares of 4×4 pixels. The 6×6 input pixels that each needs are
//! transformed (`Bᵀ d B`), each of the 36 positions is then a pointwise convolution of its own with
//! transformed weights (`G g Gᵀ`), and the sums are transformed back (`Aᵀ m A`).
//!
//! The polynomial is interpolated at 0, ±√½, ±√2 and ∞: with these the transforms hold no number
//! above 2½, and rounding errors stay below those of the usual 0, ±1, ±2, ∞. They are still about
//! ten times those of a direct convolution.

use std::f32::consts::{FRAC_1_SQRT_2, SQRT_2};
use std::fmt;
use std::ops::Range;

use pulp::{Arch, Simd, WithSimd};
use rayon::prelude::*;

use super::conv2d::Geometry;
use super::layout::{LANES, Layout, Line};
use super::microkernel::{Epilogue, MAX_BLOCKS, MAX_PIXELS, Reduction, Tile, TileBlocks};
use super::pack::{self, CoTile, WeightShape};
use crate::graph::Padding;

/// Output pixels of a square, per side.
const SQUARE: usize = 4;
/// Input pixels of a square, per side.
const PATCH: usize = 6;
/// Products per square and channel.
const POSITIONS: usize = PATCH * PATCH;

/// Below this many squares the transformed weights, four times the plain ones, are read too
/// rarely to pay: 7×7 pixels, batch 1, have four. 12: between those and the 16 of 14×14.
const MIN_SQUARES: usize = 12;

/// Bytes of transformed input and of sums that are alive at once, to stay within a shared
/// last-level cache.
const STRIPE_BYTES: usize = 6 << 20;

/// A 3×3 convolution with transformed weights.
pub(super) struct Winograd {
    geometry: Geometry,
    arch: Arch,
    /// Per position.
    weights: Vec<Vec<CoTile>>,
    /// One line per block of output channels.
    bias: Vec<Line>,
    squares: Squares,
}

impl fmt::Debug for Winograd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Winograd")
            .field("geometry", &self.geometry)
            .finish_non_exhaustive()
    }
}

/// The squares of a batch, numbered image by image, row by row.
#[derive(Clone, Copy, Debug)]
struct Squares {
    rows: usize,
    columns: usize,
    len: usize,
    /// At most so many are worked on at once.
    stripe: usize,
    /// Lines between two positions: odd, so that positions do not share sets of the cache.
    plane: usize,
}

impl Squares {
    fn new(geometry: &Geometry) -> Self {
        let Geometry { x, out, .. } = geometry;
        let [rows, columns] = [out.h, out.w].map(|size| size.div_ceil(SQUARE));
        let len = out.n * rows * columns;
        let blocks = x.c.div_ceil(LANES) + out.c.div_ceil(LANES);
        let bytes = POSITIONS * blocks * size_of::<Line>();
        let stripe = (STRIPE_BYTES / bytes).max(MIN_SQUARES).min(len);
        Self {
            rows,
            columns,
            len,
            stripe,
            plane: stripe | 1,
        }
    }

    /// Image and first output row and column of a square.
    fn corner(&self, square: usize) -> [usize; 3] {
        let (row, column) = (square / self.columns, square % self.columns);
        [row / self.rows, row % self.rows * SQUARE, column * SQUARE]
    }
}

impl Winograd {
    /// Whether a convolution can be computed this way, and is worth it.
    pub(super) fn suits(geometry: &Geometry) -> bool {
        let Geometry {
            x,
            out,
            window,
            groups,
            ..
        } = *geometry;
        let fits = window.kernel == [3, 3] && window.stride == [1, 1] && groups == 1;
        fits && x.c.min(out.c) >= LANES && Squares::new(geometry).len >= MIN_SQUARES
    }

    pub(super) fn new(
        geometry: Geometry,
        arch: Arch,
        weight: &[f32],
        bias: Option<&[f32]>,
    ) -> Self {
        let mut transformed = vec![Vec::new(); POSITIONS];
        for kernel in weight.as_chunks::<9>().0 {
            for (position, value) in transformed.iter_mut().zip(transform_kernel(kernel)) {
                position.push(value);
            }
        }
        let shape = WeightShape {
            out_c: geometry.out.c,
            in_c: geometry.x.c,
            kernel: [1, 1],
            groups: 1,
        };
        let max_blocks = arch.dispatch(TileBlocks);
        Self {
            weights: transformed
                .iter()
                .map(|weight| pack::pack(shape, weight, max_blocks, false))
                .collect(),
            bias: pack::bias_lines(geometry.out.c, bias),
            squares: Squares::new(&geometry),
            geometry,
            arch,
        }
    }

    /// Lines of scratch memory that [`Self::run`] needs.
    pub(super) fn scratch_lines(&self) -> usize {
        self.patch_lines() + self.sum_lines()
    }

    /// Transformed input of a stripe: `[block][position][square]`.
    fn patch_lines(&self) -> usize {
        Layout::new(self.geometry.x).blocks() * POSITIONS * self.squares.plane
    }

    /// Sums of a stripe: `[block][position][square]`.
    fn sum_lines(&self) -> usize {
        self.bias.len() * POSITIONS * self.squares.plane
    }

    /// Computes all output lines except the zero lines.
    pub(super) fn run(
        &self,
        x: &[Line],
        residual: Option<&[Line]>,
        scratch: &mut [Line],
        out: &mut [Line],
    ) {
        let (patches, scratch) = scratch.split_at_mut(self.patch_lines());
        let sums = &mut scratch[..self.sum_lines()];
        let per_block = POSITIONS * self.squares.plane;
        let in_plane = Layout::new(self.geometry.x).plane();
        let out_plane = Layout::new(self.geometry.out).plane();
        for first in (0..self.squares.len).step_by(self.squares.stripe) {
            let stripe = first..(first + self.squares.stripe).min(self.squares.len);
            patches
                .par_chunks_exact_mut(per_block)
                .zip(x.par_chunks_exact(in_plane))
                .for_each(|(patches, x)| {
                    self.arch.dispatch(InputTransform {
                        winograd: self,
                        stripe: stripe.clone(),
                        x,
                        patches,
                    });
                });
            self.multiply(stripe.len(), patches, sums);
            out.par_chunks_exact_mut(out_plane)
                .zip(sums.par_chunks_exact(per_block))
                .enumerate()
                .for_each(|(block, (out, sums))| {
                    self.arch.dispatch(OutputTransform {
                        winograd: self,
                        stripe: stripe.clone(),
                        sums,
                        bias: &self.bias[block],
                        residual: residual.map(|lines| &lines[block * out_plane..][..out_plane]),
                        out,
                    });
                });
        }
    }

    /// The 36 pointwise convolutions.
    fn multiply(&self, squares: usize, patches: &[Line], sums: &mut [Line]) {
        let tiles = self.weights[0].len();
        let mut items: Vec<_> = (0..POSITIONS * tiles)
            .map(|i| Product {
                position: i / tiles,
                tile: &self.weights[i / tiles][i % tiles],
                out: Vec::with_capacity(MAX_BLOCKS),
            })
            .collect();
        let tile_of_block: Vec<usize> = self.weights[0]
            .iter()
            .enumerate()
            .flat_map(|(tile, packed)| std::iter::repeat_n(tile, packed.blocks))
            .collect();
        for (plane, lines) in sums.chunks_exact_mut(self.squares.plane).enumerate() {
            let (block, position) = (plane / POSITIONS, plane % POSITIONS);
            let item = &mut items[position * tiles + tile_of_block[block]];
            item.out.push(&mut lines[..squares]);
        }
        items.par_iter_mut().for_each(|product| {
            self.arch.dispatch(ProductRun {
                winograd: self,
                squares,
                patches,
                product,
            });
        });
    }
}

/// `Bᵀ d B` of one block of channels.
struct InputTransform<'a> {
    winograd: &'a Winograd,
    stripe: Range<usize>,
    x: &'a [Line],
    /// `[position][square]`.
    patches: &'a mut [Line],
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

/// `Aᵀ m A` of one block of channels, and what follows the convolution.
struct OutputTransform<'a> {
    winograd: &'a Winograd,
    stripe: Range<usize>,
    /// `[position][square]`.
    sums: &'a [Line],
    bias: &'a Line,
    residual: Option<&'a [Line]>,
    out: &'a mut [Line],
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
                        out[part] = simd.max_f32s(sum, low);
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

/// One position for one tile of output channels.
struct Product<'a, 'out> {
    position: usize,
    tile: &'a CoTile,
    /// One slice per block of the tile.
    out: Vec<&'out mut [Line]>,
}

/// Computes one [`Product`].
struct ProductRun<'a, 'b, 'out> {
    winograd: &'a Winograd,
    squares: usize,
    patches: &'a [Line],
    product: &'a mut Product<'b, 'out>,
}

impl WithSimd for ProductRun<'_, '_, '_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let in_c = self.winograd.geometry.x.c;
        let plane = self.winograd.squares.plane;
        let blocks = in_c.div_ceil(LANES);
        let reduction = Reduction {
            blocks,
            run: LANES,
            last_run: in_c - (blocks - 1) * LANES,
            block_step: POSITIONS * plane * LANES,
            taps: 1,
        };
        let Product {
            position,
            tile,
            out,
        } = self.product;
        for first in (0..self.squares).step_by(MAX_PIXELS) {
            let pixels = MAX_PIXELS.min(self.squares - first);
            let starts: [usize; MAX_PIXELS] = std::array::from_fn(|i| (first + i) * LANES);
            Tile {
                x: bytemuck::cast_slice(&self.patches[*position * plane..]),
                starts: &starts[..pixels],
                reduction,
                weights: bytemuck::cast_slice(&tile.weights),
                epilogue: Epilogue {
                    bias: &[Line::ZERO; MAX_BLOCKS],
                    residual: None,
                    relu: false,
                },
                out,
                out_pixel: first,
                pixel: first,
                pixels,
            }
            .run(simd);
        }
    }
}

/// `G g Gᵀ`.
fn transform_kernel(kernel: &[f32; 9]) -> [f32; POSITIONS] {
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

/// `Bᵀ` on six vectors.
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

/// `Aᵀ` on six vectors.
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
        // An image whose row 1 is d: output row 0 sees it under the kernel's middle row.
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
