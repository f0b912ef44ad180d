//! Decoding of JPEG, PNG and WebP files to upright 8-bit RGB.

use std::io::Cursor;
use std::path::Path;

use image::{DynamicImage, ImageDecoder, ImageReader};

use super::Picture;
use crate::error::Error;

/// The most bytes of decoded pixels that are accepted: a 100-megapixel photograph passes, a few
/// kilobytes that unfold to gigabytes do not.
const MAX_DECODED_BYTES: u64 = 512 << 20;

impl Picture {
    /// Decodes a file, whatever its name ends with.
    ///
    /// # Errors
    /// [`Error::Io`] and [`Error::Image`].
    pub fn open(path: impl AsRef<Path>) -> Result<Self, Error> {
        let path = path.as_ref();
        let bytes = std::fs::read(path).map_err(|source| Error::Io {
            path: path.to_owned(),
            source,
        })?;
        Self::decode(path, &bytes)
    }

    /// Decodes a file that is in memory; `name` stands for its path in errors.
    ///
    /// The picture is turned as its EXIF orientation says, greys become equal channels, 16-bit
    /// channels 8-bit ones, and alpha is dropped without blending, as Pillow's `convert("RGB")` does.
    ///
    /// # Errors
    /// [`Error::Image`] for bytes that are no such image, and for one that is too large.
    pub fn decode(name: impl AsRef<Path>, bytes: &[u8]) -> Result<Self, Error> {
        let refuse = |reason: String| Error::Image {
            path: name.as_ref().to_owned(),
            reason,
        };
        let unreadable = |error: image::ImageError| refuse(error.to_string());
        let reader = ImageReader::new(Cursor::new(bytes))
            .with_guessed_format()
            .map_err(|error| refuse(error.to_string()))?;
        if reader.format().is_none() {
            return Err(refuse(
                "neither JPEG, PNG nor WebP; convert it to one of them".to_owned(),
            ));
        }
        let mut decoder = reader.into_decoder().map_err(unreadable)?;
        let (width, height) = decoder.dimensions();
        if decoder.total_bytes() > MAX_DECODED_BYTES {
            return Err(refuse(format!("{width}x{height} pixels are too many")));
        }
        // An orientation that cannot be read is no reason to refuse good pixels.
        let orientation = decoder.orientation().ok();
        let mut image = DynamicImage::from_decoder(decoder).map_err(unreadable)?;
        if let Some(orientation) = orientation {
            image.apply_orientation(orientation);
        }
        let rgb = image.into_rgb8();
        let size = (rgb.height() as usize, rgb.width() as usize);
        Self::new(size.0, size.1, rgb.into_raw())
            .ok_or_else(|| refuse("the image has no pixel".to_owned()))
    }
}
