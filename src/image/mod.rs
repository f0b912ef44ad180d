//! Images on the CPU: from a file to the pixels that a network gets.
//!
//! [`Picture::open`] decodes; [`Batch::prepare`] resizes and crops by the rules of a [`Preprocess`](crate::preprocess::Preprocess),
//! bit for bit as Pillow does, because a network that was trained on Pillow's pixels loses accuracy
//! on others. The result is 8-bit RGBA for the kernel that normalises on the GPU;
//! [`Batch::tensor`] does the same on the CPU.

mod decode;
mod prepare;
mod resize;

pub use prepare::Batch;

use crate::error::Error;
use crate::preprocess::Filter;
use crate::resample::Axis;

/// A decoded image: 8-bit RGB, row by row.
#[derive(Clone, PartialEq, Eq)]
pub struct Picture {
    height: usize,
    width: usize,
    rgb: Vec<u8>,
}

impl Picture {
    /// A picture from its rows of RGB; `None` unless the bytes fill it and it is not empty.
    pub fn new(height: usize, width: usize, rgb: Vec<u8>) -> Option<Self> {
        let len = height.checked_mul(width)?.checked_mul(3)?;
        (len > 0 && len == rgb.len()).then_some(Self { height, width, rgb })
    }

    /// Rows.
    pub const fn height(&self) -> usize {
        self.height
    }

    /// Columns.
    pub const fn width(&self) -> usize {
        self.width
    }

    /// The bytes, row by row, red first.
    pub fn rgb(&self) -> &[u8] {
        &self.rgb
    }

    /// Writes the picture as a PNG.
    ///
    /// # Errors
    /// [`Error::Image`] when it is too large for a PNG, or the writer fails.
    pub fn write_png(&self, writer: &mut Vec<u8>) -> Result<(), Error> {
        let encoder = image::codecs::png::PngEncoder::new(writer);
        let side = |pixels: usize| u32::try_from(pixels).unwrap_or(u32::MAX);
        let (width, height) = (side(self.width), side(self.height));
        let format = image::ExtendedColorType::Rgb8;
        let written = image::ImageEncoder::write_image(encoder, &self.rgb, width, height, format);
        written.map_err(|error| Error::Image {
            path: "PNG".into(),
            reason: error.to_string(),
        })
    }

    /// The picture at another size: Pillow's `Image.resize`, to the bit.
    ///
    /// # Panics
    /// When a side of `size` is zero.
    #[must_use]
    pub fn resized(&self, size: [usize; 2], filter: Filter) -> Self {
        assert!(!size.contains(&0), "a picture cannot be empty: {size:?}");
        let rows = Axis::whole(self.height, size[0]);
        let columns = Axis::whole(self.width, size[1]);
        resize::resize(self, rows, columns, filter)
    }
}

impl std::fmt::Debug for Picture {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Picture({}x{})", self.height, self.width)
    }
}
