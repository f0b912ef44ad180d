//! The innermost loops of a convolution: sums for a few pixels × a few vectors of output channels,
//! kept in registers during the reduction.
//!
//! The input is described by *starts*: for each tap of the kernel and each pixel of the tile, the
//! index of the first of `run` consecutive scalars. Stride, padding and kernel size are all turned
//! into indices, so one kernel serves all convolutions ("indirect convolution", Dukhan 2019,
//! arXiv:1907.02129). Weights are packed in the order in which they are read.

use pulp::{Scalar128b, Simd, WithSimd};

use super::layout::{LANES, Line};

/// Pixels per tile. Six pixels by four vectors take 24 of the 32 registers of AVX-512 and NEON; by
/// two vectors, 12 of the 16 of AVX2. In WebAssembly there are four vectors, and on most machines 16
/// registers: two pixels take eight, their weights four.
pub(super) const MAX_PIXELS: usize = if cfg!(target_family = "wasm") { 2 } else { 6 };

/// Maximum number of blocks of 16 output channels per tile: four vectors of AVX-512.
pub(super) const MAX_BLOCKS: usize = 4;

/// How the reduction of a tile traverses the input.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reduction {
    /// The number of blocks of input channels.
    pub(super) blocks: usize,
    /// The number of consecutive scalars read at each start.
    pub(super) run: usize,
    /// The same for the last block, which may be partial.
    pub(super) last_run: usize,
    /// Distance from one block to the next, in scalars.
    pub(super) block_step: usize,
    /// Number of taps per block.
    pub(super) taps: usize,
}

impl Reduction {
    /// The number of products per output.
    pub(super) const fn len(&self) -> usize {
        self.taps * ((self.blocks - 1) * self.run + self.last_run)
    }
}

/// What happens to the sums before they are stored.
#[derive(Clone, Copy, Debug)]
pub(super) struct Epilogue<'a> {
    /// One line per block of the tile.
    pub(super) bias: &'a [Line],
    /// The residual, starting at the first block of the tile, and its plane size.
    pub(super) residual: Option<(&'a [Line], usize)>,
    pub(super) relu: bool,
}

/// One tile: at most [`MAX_PIXELS`] pixels by at most [`MAX_BLOCKS`] blocks.
pub(super) struct Tile<'a, 'out> {
    pub(super) x: &'a [f32],
    /// `[taps][pixels]`.
    pub(super) starts: &'a [usize],
    pub(super) reduction: Reduction,
    /// `[blocks][taps][run][channels of the tile]`.
    pub(super) weights: &'a [f32],
    /// What is read soon after this tile, and asked for during it. Weights are read once, in order, and from main
    /// memory, which answers too late for the loops that read them.
    pub(super) ahead: &'a [Line],
    pub(super) epilogue: Epilogue<'a>,
    /// One slice of lines per block, all starting at the same pixel.
    pub(super) out: &'a mut [&'out mut [Line]],
    /// The first pixel, relative to the slices of `out`.
    pub(super) out_pixel: usize,
    /// The first pixel, relative to the activation.
    pub(super) pixel: usize,
    pub(super) pixels: usize,
}

/// Chooses the number of blocks per tile that suits this machine's registers.
pub(super) struct TileBlocks;

impl WithSimd for TileBlocks {
    type Output = usize;

    fn with_simd<S: Simd>(self, _: S) -> usize {
        if S::F32_LANES == LANES { MAX_BLOCKS } else { 1 }
    }
}

impl Tile<'_, '_> {
    /// Computes the tile.
    #[inline(always)]
    pub(super) fn run<S: Simd>(self, simd: S) {
        match (S::F32_LANES, self.out.len()) {
            (16, 4) => self.run_pixels::<S, 4>(simd),
            (16, 3) => self.run_pixels::<S, 3>(simd),
            (16, 2) => self.run_pixels::<S, 2>(simd),
            (16, _) => self.run_pixels::<S, 1>(simd),
            (8, _) => self.run_pixels::<S, 2>(simd),
            (4, _) => self.run_pixels::<S, 4>(simd),
            // Without vectors known to `pulp`, groups of four let the compiler vectorise.
            _ => self.run_pixels::<Scalar128b, 4>(Scalar128b),
        }
    }

    #[inline(always)]
    fn run_pixels<S: Simd, const VECTORS: usize>(self, simd: S) {
        // So that compilers leave out what no tile has.
        match self.pixels.min(MAX_PIXELS) {
            6 => self.vectorised::<S, VECTORS, 6>(simd),
            5 => self.vectorised::<S, VECTORS, 5>(simd),
            4 => self.vectorised::<S, VECTORS, 4>(simd),
            3 => self.vectorised::<S, VECTORS, 3>(simd),
            2 => self.vectorised::<S, VECTORS, 2>(simd),
            _ => self.vectorised::<S, VECTORS, 1>(simd),
        }
    }

    #[inline(always)]
    fn vectorised<S: Simd, const VECTORS: usize, const PIXELS: usize>(self, simd: S) {
        // Whole blocks are the common case, and have a function of their own, since in one that also has parts of
        // blocks the sums do not stay in registers.
        if [self.reduction.run, self.reduction.last_run] == [LANES; 2] {
            simd.vectorize(FixedTile::<'_, '_, VECTORS, PIXELS, true>(self));
        } else {
            simd.vectorize(FixedTile::<'_, '_, VECTORS, PIXELS, false>(self));
        }
    }
}

/// A tile whose dimensions are known at compile time, so that its sums stay in registers.
struct FixedTile<'a, 'out, const VECTORS: usize, const PIXELS: usize, const WHOLE: bool>(
    Tile<'a, 'out>,
);

impl<const VECTORS: usize, const PIXELS: usize, const WHOLE: bool> WithSimd
    for FixedTile<'_, '_, VECTORS, PIXELS, WHOLE>
{
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let tile = self.0;
        let sums = accumulate::<S, VECTORS, PIXELS, WHOLE>(simd, &tile);
        store(simd, tile, sums);
    }
}

/// The sums of a reduction, of `WHOLE` blocks or of any.
#[inline(always)]
fn accumulate<S: Simd, const VECTORS: usize, const PIXELS: usize, const WHOLE: bool>(
    simd: S,
    tile: &Tile<'_, '_>,
) -> [[S::f32s; VECTORS]; PIXELS] {
    let reduction = tile.reduction;
    let (mut weights, _) = S::as_simd_f32s(tile.weights).0.as_chunks::<VECTORS>();
    let (starts, _) = tile.starts.as_chunks::<PIXELS>();
    let mut sums = [[simd.splat_f32s(0.0); VECTORS]; PIXELS];
    let steps = reduction.blocks * reduction.taps;
    let mut ahead = tile.ahead.chunks(tile.ahead.len().div_ceil(steps).max(1));
    for block in 0..reduction.blocks {
        let x = &tile.x[block * reduction.block_step..];
        let run = if block + 1 == reduction.blocks {
            reduction.last_run
        } else {
            reduction.run
        };
        for starts in starts {
            if WHOLE {
                ahead.next().unwrap_or(&[]).iter().for_each(prefetch);
                let (now, later) = weights.split_first_chunk::<LANES>().expect("a block");
                weights = later;
                add_lanes(simd, x, starts, now, &mut sums);
                continue;
            }
            let (now, later) = weights.split_at(run);
            weights = later;
            // A row of seven taps of three channels is 16 + 4 + 1.
            let (lines, now) = now.as_chunks::<LANES>();
            let (fours, ones) = now.as_chunks::<4>();
            let mut x = x;
            for line in lines {
                x = add_lanes(simd, x, starts, line, &mut sums);
            }
            for four in fours {
                x = add_lanes(simd, x, starts, four, &mut sums);
            }
            for one in ones {
                x = add_lanes(simd, x, starts, &[*one], &mut sums);
            }
        }
    }
    sums
}

/// Adds the products of the next lanes, and returns the input from behind them on. Their number is known: there
/// are no bounds checks between products.
#[inline(always)]
fn add_lanes<'x, S: Simd, const VECTORS: usize, const PIXELS: usize, const COUNT: usize>(
    simd: S,
    x: &'x [f32],
    starts: &[usize; PIXELS],
    weights: &[[S::f32s; VECTORS]; COUNT],
    sums: &mut [[S::f32s; VECTORS]; PIXELS],
) -> &'x [f32] {
    // A loop, because compilers do not always inline `map`, and a call moves all sums to memory.
    let mut lanes = [&[0.0; COUNT]; PIXELS];
    for (lanes, &start) in lanes.iter_mut().zip(starts) {
        *lanes = x[start..].first_chunk().expect("lanes of a pixel");
    }
    for lane in 0..COUNT {
        add_products(simd, lanes.map(|x| x[lane]), &weights[lane], sums);
    }
    &x[COUNT..]
}

/// Has the processor bring a line to its caches, without waiting for it.
#[inline(always)]
fn prefetch(line: &Line) {
    #[cfg(target_arch = "x86_64")]
    #[allow(
        unsafe_code,
        reason = "Rust has no safe function for this instruction yet"
    )]
    // SAFETY: all processors of this architecture have the instruction, and it changes no value.
    unsafe {
        use std::arch::x86_64::{_MM_HINT_T1, _mm_prefetch};
        _mm_prefetch::<_MM_HINT_T1>(std::ptr::from_ref(line).cast());
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = line;
}

#[inline(always)]
fn add_products<S: Simd, const VECTORS: usize, const PIXELS: usize>(
    simd: S,
    x: [f32; PIXELS],
    weight: &[S::f32s; VECTORS],
    sums: &mut [[S::f32s; VECTORS]; PIXELS],
) {
    for pixel in 0..PIXELS {
        let value = simd.splat_f32s(x[pixel]);
        for vector in 0..VECTORS {
            let sum = &mut sums[pixel][vector];
            *sum = multiply_add(simd, value, weight[vector], *sum);
        }
    }
}

#[inline(always)]
fn store<S: Simd, const VECTORS: usize, const PIXELS: usize>(
    simd: S,
    tile: Tile<'_, '_>,
    sums: [[S::f32s; VECTORS]; PIXELS],
) {
    let vectors_per_block = LANES / S::F32_LANES;
    let epilogue = tile.epilogue;
    let zero = simd.splat_f32s(0.0);
    for (block, out) in tile.out.iter_mut().enumerate() {
        let out = &mut out[tile.out_pixel..][..PIXELS];
        let residual = epilogue
            .residual
            .map(|(lines, plane)| &lines[block * plane + tile.pixel..][..PIXELS]);
        let bias = S::as_simd_f32s(&epilogue.bias[block].0).0;
        for pixel in 0..PIXELS {
            let out = S::as_mut_simd_f32s(&mut out[pixel].0).0;
            for part in 0..vectors_per_block {
                let mut sum = sums[pixel][block * vectors_per_block + part];
                sum = simd.add_f32s(sum, bias[part]);
                if let Some(residual) = residual {
                    sum = simd.add_f32s(sum, S::as_simd_f32s(&residual[pixel].0).0[part]);
                }
                if epilogue.relu {
                    // `max` returns its second argument if either is NaN, which must be preserved.
                    sum = simd.max_f32s(zero, sum);
                }
                out[part] = sum;
            }
        }
    }
}

#[inline(always)]
fn multiply_add<S: Simd>(simd: S, a: S::f32s, b: S::f32s, c: S::f32s) -> S::f32s {
    // Without hardware support, a fused multiply-add is a slow function call.
    if std::any::TypeId::of::<S>() == std::any::TypeId::of::<Scalar128b>() {
        simd.add_f32s(simd.mul_f32s(a, b), c)
    } else {
        simd.mul_add_e_f32s(a, b, c)
    }
}
