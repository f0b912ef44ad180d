//! Convolution and linear layers: the output is cut into work items that run on all cores.

use std::fmt;
use std::ops::Range;

use pulp::{Arch, Simd, WithSimd};
use rayon::prelude::*;

use super::layout::{LANES, Layout, Line};
use super::microkernel::{Epilogue, MAX_PIXELS, Reduction, Tile, TileBlocks};
use super::pack::{self, CoTile, WeightShape};
use crate::graph::Window;
use crate::tensor::Shape;

/// Maximum number of input channels for which a convolution first rewrites its input as padded rows
/// of pixels, as a block of 16 lanes would be mostly empty. 4: an RGB or RGBA image.
const MAX_ROW_CHANNELS: usize = 4;

/// How much of the weights and of the input a work item may touch repeatedly, in bytes: together
/// they should fit the 512 KiB to 2 MiB of each core's own L2 cache.
const ITEM_BYTES: usize = 256 << 10;

/// Pixels that are computed for one tile of channels after the other: where their inputs start is
/// computed once, and stays in the L1 cache with the weights.
const PIXELS_AT_ONCE: usize = 192;

/// What a convolution computes, apart from its weights.
#[derive(Clone, Copy, Debug)]
pub(super) struct Geometry {
    pub(super) x: Shape,
    pub(super) out: Shape,
    pub(super) window: Window,
    /// Vertical and horizontal dilation.
    pub(super) dilation: [usize; 2],
    pub(super) groups: usize,
    pub(super) relu: bool,
}

impl Geometry {
    pub(super) const fn weight_shape(&self) -> WeightShape {
        WeightShape {
            out_c: self.out.c,
            in_c: self.x.c,
            kernel: self.window.kernel,
            groups: self.groups,
        }
    }
}

/// A convolution with packed weights.
pub(super) struct PackedConv {
    geometry: Geometry,
    arch: Arch,
    tiles: Vec<CoTile>,
    /// One line per block of output channels.
    bias: Vec<Line>,
    /// Whether the input is first rewritten as rows.
    rows: bool,
}

impl fmt::Debug for PackedConv {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PackedConv")
            .field("geometry", &self.geometry)
            .finish_non_exhaustive()
    }
}

impl PackedConv {
    pub(super) fn new(
        geometry: Geometry,
        arch: Arch,
        weight: &[f32],
        bias: Option<&[f32]>,
    ) -> Self {
        // A row of taps is then read as one run.
        let rows =
            geometry.groups == 1 && geometry.x.c <= MAX_ROW_CHANNELS && geometry.dilation[1] == 1;
        let shape = geometry.weight_shape();
        Self {
            tiles: pack::pack(shape, weight, arch.dispatch(TileBlocks), rows),
            bias: pack::bias_lines(geometry.out.c, bias),
            geometry,
            arch,
            rows,
        }
    }

    /// The number of scratch lines that [`Self::run`] needs.
    pub(super) fn scratch_lines(&self) -> usize {
        if !self.rows {
            return 0;
        }
        let padded = self.padded();
        (padded.pixels() * padded.c).div_ceil(LANES)
    }

    /// Computes all output lines except the zero lines.
    pub(super) fn run(
        &self,
        x: &[Line],
        residual: Option<&[Line]>,
        scratch: &mut [Line],
        out: &mut [Line],
    ) {
        let input: &[f32] = if self.rows {
            let scratch = bytemuck::cast_slice_mut(&mut scratch[..self.scratch_lines()]);
            self.write_rows(x, scratch);
            scratch
        } else {
            bytemuck::cast_slice(x)
        };
        let mut items = self.items(out);
        items.par_iter_mut().with_max_len(1).for_each(|item| {
            self.arch.dispatch(ItemRun {
                conv: self,
                x: input,
                residual,
                item,
            });
        });
    }

    /// The shape of the padded input.
    fn padded(&self) -> Shape {
        let Geometry { x, window, .. } = self.geometry;
        let padding = window.padding;
        Shape {
            h: padding.top + x.h + padding.bottom,
            w: padding.left + x.w + padding.right,
            ..x
        }
    }

    /// Rewrites the input, which has a single block, as `[n][y][x][c]` with padding.
    fn write_rows(&self, x: &[Line], rows: &mut [f32]) {
        let Geometry {
            x: shape, window, ..
        } = self.geometry;
        let padding = window.padding;
        let padded = self.padded();
        let row_len = padded.w * padded.c;
        rows[..padded.pixels() * padded.c]
            .par_chunks_mut(row_len)
            .enumerate()
            .for_each(|(row, values)| {
                values.fill(0.0);
                let (n, py) = (row / padded.h, row % padded.h);
                let Some(iy) = py.checked_sub(padding.top).filter(|&iy| iy < shape.h) else {
                    return;
                };
                let source = &x[(n * shape.h + iy) * shape.w..][..shape.w];
                let target = &mut values[padding.left * shape.c..][..shape.w * shape.c];
                for (pixel, line) in target.chunks_exact_mut(shape.c).zip(source) {
                    pixel.copy_from_slice(&line.0[..shape.c]);
                }
            });
    }

    /// Cuts the output into pieces that are computed independently.
    fn items<'out>(&self, out: &'out mut [Line]) -> Vec<Item<'out>> {
        let layout = Layout::new(self.geometry.out);
        let pixels = self.geometry.out.pixels();
        let [pixel_chunks, tile_chunks] = self.grid();

        let mut planes: Vec<_> = out
            .chunks_exact_mut(layout.plane())
            .map(|plane| &mut plane[..pixels])
            .collect();
        let mut items = Vec::with_capacity(pixel_chunks * tile_chunks);
        for chunk in 0..pixel_chunks {
            // All boundaries but the last are multiples of the tile size.
            let boundary = |chunk: usize| {
                let tiles = pixels.div_ceil(MAX_PIXELS);
                (tiles * chunk / pixel_chunks * MAX_PIXELS).min(pixels)
            };
            let range = boundary(chunk)..boundary(chunk + 1);
            let mut slices = planes.iter_mut().map(|plane| {
                plane
                    .split_off_mut(..range.len())
                    .expect("chunks add up to the plane")
            });
            for tiles in split(self.tiles.len(), tile_chunks) {
                let blocks = self.tiles[tiles.clone()].iter().map(|t| t.blocks).sum();
                items.push(Item {
                    tiles,
                    pixels: range.clone(),
                    out: slices.by_ref().take(blocks).collect(),
                });
            }
        }
        items
    }

    /// The number of pieces into which the pixels and the tiles of output channels are cut.
    fn grid(&self) -> [usize; 2] {
        let Geometry { x, out, .. } = self.geometry;
        let pixel_tiles = out.pixels().div_ceil(MAX_PIXELS);
        let input_bytes = x.len() * size_of::<f32>();
        let weight_bytes = self.tiles.iter().map(|t| size_of_val(&t.weights[..])).sum();
        let mut pixel_chunks = input_bytes.div_ceil(ITEM_BYTES).min(pixel_tiles);
        let mut tile_chunks = usize::div_ceil(weight_bytes, ITEM_BYTES).min(self.tiles.len());
        // Enough items that no core waits long for the last; the larger dimension is cut more.
        let wanted = 4 * rayon::current_num_threads();
        while pixel_chunks * tile_chunks < wanted {
            let more_pixels = pixel_chunks < pixel_tiles;
            let more_tiles = tile_chunks < self.tiles.len();
            if more_tiles && (weight_bytes > input_bytes || !more_pixels) {
                tile_chunks += 1;
            } else if more_pixels {
                pixel_chunks += 1;
            } else {
                break;
            }
        }
        [pixel_chunks, tile_chunks]
    }

    /// How the reduction of a tile traverses the input.
    fn reduction(&self, tile: &CoTile) -> Reduction {
        let [kernel_h, kernel_w] = self.geometry.window.kernel;
        if self.rows {
            let run = kernel_w * self.geometry.x.c;
            return Reduction {
                blocks: 1,
                run,
                last_run: run,
                block_step: 0,
                taps: kernel_h,
            };
        }
        let blocks = tile.in_c.len().div_ceil(LANES);
        Reduction {
            blocks,
            run: LANES,
            last_run: tile.in_c.len() - (blocks - 1) * LANES,
            block_step: Layout::new(self.geometry.x).plane() * LANES,
            taps: kernel_h * kernel_w,
        }
    }

    /// Adds the index of the first scalar for each tap of each pixel of a tile, `[taps][pixels]`, in the first
    /// block.
    fn add_starts(&self, pixels: Range<usize>, starts: &mut Vec<usize>) {
        let Geometry {
            x,
            out,
            window,
            dilation,
            ..
        } = self.geometry;
        let Window {
            kernel,
            stride,
            padding,
        } = window;
        let layout = Layout::new(x);
        let padded = self.padded();
        let mut corners = [[0; 3]; MAX_PIXELS];
        let corners = &mut corners[..pixels.len()];
        for (corner, pixel) in corners.iter_mut().zip(pixels) {
            let (row, ox) = (pixel / out.w, pixel % out.w);
            *corner = [row / out.h, row % out.h * stride[0], ox * stride[1]];
        }
        for ky in (0..kernel[0]).map(|tap| tap * dilation[0]) {
            if self.rows {
                let starting = corners
                    .iter()
                    .map(|&[n, y, x]| ((n * padded.h + y + ky) * padded.w + x) * padded.c);
                starts.extend(starting);
                continue;
            }
            for kx in (0..kernel[1]).map(|tap| tap * dilation[1]) {
                starts.extend(corners.iter().map(|&[n, y, px]| {
                    let iy = (y + ky).wrapping_sub(padding.top);
                    let ix = (px + kx).wrapping_sub(padding.left);
                    if iy < x.h && ix < x.w {
                        layout.pixel(n, iy, ix) * LANES
                    } else {
                        x.pixels() * LANES
                    }
                }));
            }
        }
    }
}

/// Cuts a range into parts of nearly equal length.
pub(super) fn split(len: usize, parts: usize) -> impl Iterator<Item = Range<usize>> {
    (0..parts).map(move |part| len * part / parts..len * (part + 1) / parts)
}

/// Cuts a range into parts of this length; the last one may be shorter.
fn chunks(range: Range<usize>, len: usize) -> impl Iterator<Item = Range<usize>> {
    let firsts = range.clone().step_by(len);
    firsts.map(move |first| first..(first + len).min(range.end))
}

/// A rectangle of the output: a range of channel tiles by a range of pixels.
struct Item<'out> {
    tiles: Range<usize>,
    pixels: Range<usize>,
    /// One slice per block of the tiles.
    out: Vec<&'out mut [Line]>,
}

/// Computes one item.
struct ItemRun<'a, 'out> {
    conv: &'a PackedConv,
    x: &'a [f32],
    residual: Option<&'a [Line]>,
    item: &'a mut Item<'out>,
}

impl WithSimd for ItemRun<'_, '_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self {
            conv,
            x,
            residual,
            item,
        } = self;
        let plane = Layout::new(conv.geometry.out).plane();
        let in_plane = Layout::new(conv.geometry.x).plane();
        let mut starts = Vec::new();
        for pixels in chunks(item.pixels.clone(), PIXELS_AT_ONCE) {
            starts.clear();
            let tiles = chunks(pixels.clone(), MAX_PIXELS);
            tiles.for_each(|tile| conv.add_starts(tile, &mut starts));
            let starts_per_tile = starts.len() / pixels.len() * MAX_PIXELS;
            let mut out = &mut item.out[..];
            for index in item.tiles.clone() {
                let tile = &conv.tiles[index];
                let reduction = conv.reduction(tile);
                debug_assert_eq!(
                    tile.weights.len(),
                    reduction.len() * tile.blocks,
                    "weights fill the reduction"
                );
                let x = &x[tile.in_c.start / LANES * in_plane * LANES..];
                let (tile_out, rest) = out.split_at_mut(tile.blocks);
                out = rest;
                let epilogue = Epilogue {
                    bias: &conv.bias[tile.first_block..],
                    residual: residual.map(|lines| (&lines[tile.first_block * plane..], plane)),
                    relu: conv.geometry.relu,
                };
                // Later pixels find the weights in a cache.
                let first_time = pixels.start == item.pixels.start;
                let next = conv.tiles.get(index + 1).filter(|_| first_time);
                let next = next.map_or(&[][..], |next| &next.weights[..]);
                let parts = split(next.len(), pixels.len().div_ceil(MAX_PIXELS));
                let pixel_tiles = chunks(pixels.clone(), MAX_PIXELS);
                let starts = starts.chunks(starts_per_tile);
                for ((pixels, starts), part) in pixel_tiles.zip(starts).zip(parts) {
                    Tile {
                        x,
                        starts,
                        reduction,
                        weights: bytemuck::cast_slice(&tile.weights),
                        ahead: &next[part],
                        epilogue,
                        out: tile_out,
                        out_pixel: pixels.start - item.pixels.start,
                        pixel: pixels.start,
                        pixels: pixels.len(),
                    }
                    .run(simd);
                }
            }
        }
    }
}
