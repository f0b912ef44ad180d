//! Decodes JPEG, PNG and WebP files to upright 8-bit RGB.

use std::io::Cursor;
use std::path::Path;

use image::{DynamicImage, ImageDecoder, ImageReader, Rgb, RgbImage};

use super::Picture;
use crate::error::Error;

/// The most bytes of decoded pixels: a 100-megapixel photograph passes, a few kilobytes that unfold
/// to gigabytes do not.
const MAX_DECODED_BYTES: u64 = 512 << 20;

impl Picture {
    /// Decodes a file, whatever its extension.
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
    /// The picture is turned as its EXIF orientation says, and then converted as Pillow's
    /// `convert("RGB")` does: greys become equal channels, alpha is dropped without blending,
    /// 16-bit colours keep their upper 8 bits, and 16-bit greys are clipped at 255.
    ///
    /// # Errors
    /// [`Error::Image`] for bytes that are not such an image, and for an image that is too large.
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
        // An unreadable orientation is no reason to refuse good pixels.
        let orientation = decoder.orientation().ok();
        let mut image = DynamicImage::from_decoder(decoder).map_err(unreadable)?;
        if let Some(orientation) = orientation {
            image.apply_orientation(orientation);
        }
        let rgb = eight_bits(image);
        let size = (rgb.height() as usize, rgb.width() as usize);
        Self::new(size.0, size.1, rgb.into_raw())
            .ok_or_else(|| refuse("the image has no pixel".to_owned()))
    }
}

/// Converts pixels as Pillow does, which takes the upper byte of 16-bit colours but clips 16-bit
/// greys.
fn eight_bits(image: DynamicImage) -> RgbImage {
    let upper = |value: u16| value.to_be_bytes()[0];
    let (width, height) = (image.width(), image.height());
    match image {
        DynamicImage::ImageLuma16(grey) => RgbImage::from_fn(width, height, |x, y| {
            let value = grey.get_pixel(x, y)[0];
            Rgb([u8::try_from(value).unwrap_or(u8::MAX); 3])
        }),
        DynamicImage::ImageLumaA16(grey) => RgbImage::from_fn(width, height, |x, y| {
            Rgb([upper(grey.get_pixel(x, y)[0]); 3])
        }),
        DynamicImage::ImageRgb16(rgb) => {
            RgbImage::from_fn(width, height, |x, y| Rgb(rgb.get_pixel(x, y).0.map(upper)))
        }
        DynamicImage::ImageRgba16(rgba) => RgbImage::from_fn(width, height, |x, y| {
            let [r, g, b, _] = rgba.get_pixel(x, y).0;
            Rgb([r, g, b].map(upper))
        }),
        other => other.into_rgb8(),
    }
}
