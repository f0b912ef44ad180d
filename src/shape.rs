//! The shape of an activation, and its size in memory.

use std::fmt;

/// Channels in one packed vector: the lanes of a `vec4<f32>`.
pub(crate) const LANES: usize = 4;

/// Texels in a row of a folded texture. With WebGPU's default limit of 8192 rows that makes 128
/// MiB, the default limit of a storage buffer binding.
pub(crate) const FOLD_WIDTH: usize = 1 << 10;

/// Scalars in a row of a folded texture.
pub(crate) const FOLD_ROW_SCALARS: usize = FOLD_WIDTH * LANES;

/// The number of rows of a folded texture that holds this many texels.
///
/// It is never a power of two: llvmpipe recompiles a shader for each combination of textures with
/// and without power-of-two sides (Mesa 22.3, `lp_sampler_static_texture_state_image`).
pub(crate) const fn folded_rows(texels: usize) -> usize {
    let rows = texels.div_ceil(FOLD_WIDTH);
    if rows.is_power_of_two() {
        rows + 1
    } else {
        rows
    }
}

/// The shape of an activation: images, channels, rows, columns.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Shape {
    /// Images in the batch.
    pub n: usize,
    /// Channels.
    pub c: usize,
    /// Rows.
    pub h: usize,
    /// Columns.
    pub w: usize,
}

impl Shape {
    /// A shape from its four dimensions, in NCHW order.
    pub const fn new(n: usize, c: usize, h: usize, w: usize) -> Self {
        Self { n, c, h, w }
    }

    /// The number of groups of four channels; the last one may be partial.
    pub(crate) const fn channel_groups(&self) -> usize {
        self.c.div_ceil(LANES)
    }

    /// The number of vectors in the packed layout.
    pub(crate) const fn vectors(&self) -> usize {
        self.channel_groups() * self.pixels()
    }

    /// The number of scalars in the packed layout, including channel tails.
    #[doc(hidden)]
    pub const fn packed_len(&self) -> usize {
        self.vectors() * LANES
    }

    /// The dimensions in NCHW order.
    pub const fn dims(&self) -> [usize; 4] {
        [self.n, self.c, self.h, self.w]
    }

    /// A batch of images, in the words of errors about memory.
    pub(crate) fn batch_in_words(self) -> String {
        format!("a batch of {} images of {}x{}", self.n, self.h, self.w)
    }

    /// The size of the packed layout in bytes; `None` if it overflows `usize`.
    pub(crate) fn checked_packed_bytes(&self) -> Option<usize> {
        self.c
            .div_ceil(LANES)
            .checked_mul(self.n)?
            .checked_mul(self.h)?
            .checked_mul(self.w)?
            .checked_mul(LANES * size_of::<f32>())
    }
}

#[doc(hidden)]
impl Shape {
    /// The number of scalars.
    pub const fn len(&self) -> usize {
        self.n * self.c * self.h * self.w
    }

    /// Whether any dimension is zero.
    pub const fn is_empty(&self) -> bool {
        self.n == 0 || self.c == 0 || self.h == 0 || self.w == 0
    }

    /// The number of pixels in the whole batch, N·H·W.
    pub const fn pixels(&self) -> usize {
        self.n * self.h * self.w
    }
}

impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "[{}, {}, {}, {}]", self.n, self.c, self.h, self.w)
    }
}
