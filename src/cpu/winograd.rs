//! 3×3 convolutions of stride 1 by F(4×4, 3×3) (Lavin & Gray 2015, arXiv:1509.09308): 36 products
//! where a direct convolution takes 144.
//!
//! The output is cut into squares of 4×4 pixels. The 6×6 input pixels of each are transformed
//! (`Bᵀ d B`); each of the 36 positions is then a separate pointwise convolution with transformed
//! weights (`G g Gᵀ`), and the sums are transformed back (`Aᵀ m A`).
//!
//! The polynomial is interpolated at 0, ±√½, ±√2 and ∞: no number in the transforms then exceeds
//! 2½, and rounding errors are smaller than with the usual 0, ±1, ±2, ∞. They are still about ten
//! times those of a direct convolution.

mod transforms;

use std::fmt;

use pulp::{Arch, Simd, WithSimd};
use rayon::prelude::*;

use super::conv2d::{Geometry, split};
use super::layout::{LANES, Layout, Line};
use super::microkernel::{Epilogue, MAX_BLOCKS, MAX_PIXELS, Reduction, Tile, TileBlocks};
use super::pack::{self, CoTile, WeightShape};
use transforms::{InputTransform, OutputTransform, transform_kernel};

/// Output pixels per side of a square.
const SQUARE: usize = 4;
/// Input pixels per side of a square.
const PATCH: usize = 6;
/// Products per square and channel.
const POSITIONS: usize = PATCH * PATCH;

/// With fewer squares than this, the transformed weights, four times as large as the plain ones,
/// are read too rarely to pay off: 7×7 pixels at batch 1 have four squares, 14×14 have 16, and 12
/// lies between.
const MIN_SQUARES: usize = 12;

/// Bytes of transformed input and sums in use at the same time, chosen to stay within a shared
/// last-level cache.
const STRIPE_BYTES: usize = 6 << 20;

/// A 3×3 convolution with transformed weights.
pub(super) struct Winograd {
    geometry: Geometry,
    arch: Arch,
    /// Transformed weights, by position.
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
    /// Maximum number of squares that are computed at once.
    stripe: usize,
    /// Lines from one position to the next: odd, so that positions do not compete for cache sets.
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

    /// The image, first output row and first output column of a square.
    fn corner(&self, square: usize) -> [usize; 3] {
        let (row, column) = (square / self.columns, square % self.columns);
        [row / self.rows, row % self.rows * SQUARE, column * SQUARE]
    }
}

impl Winograd {
    /// How many times larger than the plain weights the transformed ones are.
    pub(super) const GROWTH: usize = POSITIONS / 9;

    /// Whether a convolution can be computed this way, and is worth it.
    pub(super) fn suits(geometry: &Geometry) -> bool {
        let Geometry {
            x,
            out,
            window,
            dilation,
            groups,
            ..
        } = *geometry;
        let steps = [window.stride, dilation];
        let fits = window.kernel == [3, 3] && steps == [[1, 1]; 2] && groups == 1;
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

    /// The number of scratch lines that [`Self::run`] needs.
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
        let tile = |i: usize| self.weights.get(i / tiles)?.get(i % tiles);
        let mut items: Vec<_> = (0..POSITIONS * tiles)
            .map(|i| Product {
                position: i / tiles,
                tile: &self.weights[i / tiles][i % tiles],
                next: tile(i + 1),
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

/// The pointwise convolution of one position for one tile of output channels.
struct Product<'a, 'out> {
    position: usize,
    tile: &'a CoTile,
    /// The tile of the product after it.
    next: Option<&'a CoTile>,
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
            next,
            out,
        } = self.product;
        let next = next.map_or(&[][..], |next| &next.weights[..]);
        let parts = split(next.len(), self.squares.div_ceil(MAX_PIXELS));
        for (first, part) in (0..self.squares).step_by(MAX_PIXELS).zip(parts) {
            let pixels = MAX_PIXELS.min(self.squares - first);
            let starts: [usize; MAX_PIXELS] = std::array::from_fn(|i| (first + i) * LANES);
            Tile {
                x: bytemuck::cast_slice(&self.patches[*position * plane..]),
                starts: &starts[..pixels],
                reduction,
                weights: bytemuck::cast_slice(&tile.weights),
                ahead: &next[part],
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
