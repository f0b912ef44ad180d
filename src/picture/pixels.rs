//! A decoded image: its pixels, how to resize it, and how to write it.

use std::borrow::Cow;
use std::path::Path;

use super::resample::{Axis, fit};
use super::{ChannelOrder, Filter, Preprocess, Reader, resize};
use crate::error::Error;
use crate::internals::files::read_at_most;

/// A decoded image: 8-bit RGB, row by row.
#[derive(Clone, PartialEq, Eq)]
pub struct Picture {
    pub(super) height: usize,
    pub(super) width: usize,
    pub(super) rgb: Vec<u8>,
}

/// The largest file that is read, in bytes.
const MAX_FILE: u64 = 1 << 30;

/// The bytes of a file.
pub(super) fn read(path: &Path) -> Result<Vec<u8>, Error> {
    read_at_most(path, MAX_FILE).map_err(|source| Error::Io {
        path: path.to_owned(),
        source,
    })
}

impl Picture {
    /// Decodes a file, whatever its extension, as [`Reader`] does by default.
    ///
    /// # Errors
    /// [`Error::Io`] and [`Error::Image`].
    pub fn open(path: impl AsRef<Path>) -> Result<Self, Error> {
        Reader::default().decode_file(path.as_ref())
    }

    /// A picture from its RGB bytes, row by row; `None` if it is empty or the length does not
    /// match.
    pub fn new(height: usize, width: usize, rgb: Vec<u8>) -> Option<Self> {
        let len = height.checked_mul(width)?.checked_mul(3)?;
        (len > 0 && len == rgb.len()).then_some(Self { height, width, rgb })
    }

    /// The numbers of rows and columns.
    pub const fn size(&self) -> [usize; 2] {
        [self.height, self.width]
    }

    /// The bytes, row by row, red first.
    pub fn rgb(&self) -> &[u8] {
        &self.rgb
    }
}

#[doc(hidden)]
impl Picture {
    /// Writes the picture as a PNG.
    ///
    /// # Errors
    /// [`Error::Image`] if it is too large for a PNG, or if encoding fails.
    pub fn write_png(&self, writer: &mut Vec<u8>) -> Result<(), Error> {
        let encoder = image::codecs::png::PngEncoder::new(writer);
        let side = |pixels: usize| u32::try_from(pixels).unwrap_or(u32::MAX);
        let (width, height) = (side(self.width), side(self.height));
        let format = image::ExtendedColorType::Rgb8;
        let written = image::ImageEncoder::write_image(encoder, &self.rgb, width, height, format);
        written.map_err(|error| Error::Image {
            path: "PNG".into(),
            reason: error.to_string(),
            hint: None,
        })
    }

    /// Resizes the picture exactly as Pillow's `Image.resize` does.
    ///
    /// # Panics
    /// If a dimension of `size` is zero.
    #[must_use]
    pub fn resized(&self, size: [usize; 2], filter: Filter) -> Self {
        assert!(!size.contains(&0), "a picture cannot be empty: {size:?}");
        let rows = Axis::whole(self.height, size[0]);
        let columns = Axis::whole(self.width, size[1]);
        resize::resize(self, rows, columns, filter)
    }

    /// The part of the picture that a network sees under these rules, at the network's scale.
    pub(super) fn fitted(&self, rules: &Preprocess) -> Self {
        let [rows, columns] = fit([self.height, self.width], rules);
        let scaled = |picture: &Self| resize::resize(picture, rows, columns, rules.filter);
        match rules.channels.of(&self.rgb) {
            Cow::Borrowed(_) => scaled(self),
            Cow::Owned(rgb) => scaled(&Self { rgb, ..*self }),
        }
    }
}

impl ChannelOrder {
    /// The pixels in the rules' colours: unchanged, or for grey, the luma in all three channels,
    /// with Pillow's ITU-R 601 weights.
    pub(super) fn of(self, rgb: &[u8]) -> Cow<'_, [u8]> {
        let luma = |&[r, g, b]: &[u8; 3]| {
            let sum = u32::from(r) * 19_595 + u32::from(g) * 38_470 + u32::from(b) * 7_471;
            [((sum + (1 << 15)) >> 16).to_le_bytes()[0]; 3]
        };
        match self {
            Self::Rgb | Self::Bgr | Self::Planes(_) => Cow::Borrowed(rgb),
            Self::Grey => Cow::Owned(rgb.as_chunks::<3>().0.iter().flat_map(luma).collect()),
        }
    }
}

impl std::fmt::Debug for Picture {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Picture({}x{})", self.height, self.width)
    }
}
