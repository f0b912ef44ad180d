//! Turns image files into upright 8-bit RGB, with exactly the bytes of Pillow's `convert("RGB")`.
//!
//! JPEG and PNG, the most common formats, have their own modules: JPEGs are decoded as by
//! libjpeg-turbo, and PNGs can be resized while they are decoded, row by row.

mod array;
mod formats;
mod gif;
mod jpeg;
mod png;
mod tiff;

use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

use image::metadata::Orientation;
use image::{DynamicImage, RgbImage};

use super::pixels::read;
use super::resize::Resizer;
use super::{Batch, ChannelOrder, Picture, Preprocess, resample};
use crate::error::{Error, Hint};

/// The largest picture that is held, in bytes of RGB: Pillow's limit of 179 million pixels.
const MAX_BYTES: u64 = 512 << 20;

/// The largest picture that is resized while decoding, in pixels, which limits the time.
const MAX_STREAMED: u64 = 512 << 20;

/// Pictures of this many bytes of RGB are decoded one at a time, by however many threads.
const LARGE: u64 = 128 << 20;

/// Locked while a large picture is in memory.
static LARGE_PICTURE: Mutex<()> = Mutex::new(());

type Turn = Option<MutexGuard<'static, ()>>;

/// How image files are read: JPEG, PNG, WebP, GIF (the first frame), BMP, TIFF, TGA and PNM.
///
/// The result is that of Pillow's `convert("RGB")`: greys have equal channels, alpha is dropped
/// without blending, 16-bit colours keep their upper 8 bits, and 16-bit greys are clipped at 255.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Reader {
    /// Whether pictures are turned upright as their EXIF or XMP data say, which is the default.
    pub upright: bool,
    /// Whether a truncated JPEG or PNG is decoded as far as it goes, with the rest grey or black. By
    /// default it is refused.
    pub truncated: bool,
    /// Whether a JPEG that is prepared for a network may be decoded at a fraction of its size, still at least
    /// twice that of the network's image. This takes less time, and the pixels are no longer exactly Pillow's.
    pub fast: bool,
}

impl Default for Reader {
    fn default() -> Self {
        Self {
            upright: true,
            truncated: false,
            fast: false,
        }
    }
}

impl Reader {
    /// Decodes a file held in memory; `name` takes the place of its path in errors.
    ///
    /// # Errors
    /// [`Error::Image`] if the bytes are not a supported image, or if it is too large.
    pub fn decode(&self, name: impl AsRef<Path>, bytes: &[u8]) -> Result<Picture, Error> {
        let decoded = self
            .start(bytes, None)
            .and_then(|source| match source.pixels {
                Pixels::All(picture, _) => Ok(turned(picture, source.orientation)),
                Pixels::Rows(rows) => Ok(turned(rows.collect()?.0, source.orientation)),
            });
        decoded.map_err(|refused| refused.of(name.as_ref()))
    }

    /// Decodes a file in memory and prepares it for a network. Only one row of a PNG is held at a
    /// time, unless it is interlaced or has to be turned. Where the network takes arrays, the file is one
    /// of NumPy.
    ///
    /// # Errors
    /// Those of [`decode`](Self::decode), and [`Error::Preprocess`] if the rules cannot be carried
    /// out.
    #[doc(hidden)]
    pub fn prepare(
        &self,
        name: impl AsRef<Path>,
        bytes: &[u8],
        rules: &Preprocess,
    ) -> Result<Batch, Error> {
        rules.check()?;
        if let ChannelOrder::Planes(channels) = rules.channels {
            let decoded = array::decode(bytes, channels, rules);
            return decoded.map_err(|refused| refused.of(name.as_ref()));
        }
        let resized = self
            .start(bytes, Some(rules).filter(|_| self.fast))
            .and_then(|source| {
                let (picture, _turn) = match (source.pixels, source.orientation) {
                    (Pixels::Rows(mut rows), Orientation::NoTransforms) if rows.in_order() => {
                        let rules = rules.for_image(rows.size()).unwrap_or(*rules);
                        let [vertical, horizontal] = resample::fit(rows.size(), &rules);
                        let mut resizer = Resizer::new(vertical, horizontal, rules.filter);
                        rows.each(|row| resizer.push(&rules.channels.of(row)))?;
                        return Ok((resizer.finish(), rules));
                    }
                    (Pixels::Rows(rows), _) => rows.collect()?,
                    (Pixels::All(picture, turn), _) => (picture, turn),
                };
                let picture = turned(picture, source.orientation);
                let size = [picture.height, picture.width];
                let rules = rules.for_image(size).unwrap_or(*rules);
                Ok((picture.fitted(&rules), rules))
            });
        let (fitted, rules) = resized.map_err(|refused| refused.of(name.as_ref()))?;
        Ok(Batch::of(fitted, &rules))
    }

    /// Decodes a file on disk.
    ///
    /// # Errors
    /// As [`decode`](Self::decode), and [`Error::Io`].
    #[doc(hidden)]
    pub fn decode_file(&self, path: &Path) -> Result<Picture, Error> {
        self.decode(path, &read(path)?)
    }

    /// Does what [`prepare`](Self::prepare) does for a file on disk.
    ///
    /// # Errors
    /// As [`prepare`](Self::prepare), and [`Error::Io`].
    #[doc(hidden)]
    pub fn prepare_file(&self, path: &Path, rules: &Preprocess) -> Result<Batch, Error> {
        self.prepare(path, &read(path)?, rules)
    }

    /// Decodes a file, or only its head if the rows can follow one by one. It may be reduced as far as the
    /// rules allow.
    fn start<'a>(
        &self,
        bytes: &'a [u8],
        reduced: Option<&Preprocess>,
    ) -> Result<Source<'a>, Refused> {
        let wanted = |size: [usize; 2], orientation: Orientation| -> Option<[usize; 2]> {
            let rules = reduced?;
            let turns = self.upright && is_transposed(orientation);
            let turn = |[h, w]: [usize; 2]| if turns { [w, h] } else { [h, w] };
            let size = turn(size);
            let rules = rules.for_image(size).unwrap_or(*rules);
            Some(turn(resample::fit(size, &rules).map(|axis| axis.to)))
        };
        let mut source = formats::decode(bytes, self.truncated, &wanted)?;
        if !self.upright {
            source.orientation = Orientation::NoTransforms;
        }
        Ok(source)
    }
}

/// Tells to what height and width a picture of a size will be resized, as it lies in its file; `None` for one
/// that is wanted as it is.
type Wanted<'a> = &'a dyn Fn([usize; 2], Orientation) -> Option<[usize; 2]>;

/// Whether rows become columns when a picture is turned upright.
fn is_transposed(orientation: Orientation) -> bool {
    match orientation {
        Orientation::Rotate90
        | Orientation::Rotate270
        | Orientation::Rotate90FlipH
        | Orientation::Rotate270FlipH => true,
        Orientation::NoTransforms
        | Orientation::Rotate180
        | Orientation::FlipHorizontal
        | Orientation::FlipVertical => false,
    }
}

/// A 16-bit grey value, clipped at 255 as by Pillow.
fn clipped(grey: u16) -> [u8; 3] {
    [u8::try_from(grey).unwrap_or(u8::MAX); 3]
}

/// What is known about a file once its header has been read.
struct Source<'a> {
    pixels: Pixels<'a>,
    orientation: Orientation,
}

enum Pixels<'a> {
    All(Picture, Turn),
    Rows(Box<png::Rows<'a>>),
}

impl Source<'_> {
    /// A decoded picture, and its orientation.
    fn all(picture: Picture, turn: Turn, orientation: Orientation) -> Self {
        Self {
            pixels: Pixels::All(picture, turn),
            orientation,
        }
    }
}

/// Why a file is refused.
enum Refused {
    CutOff,
    Other(String),
}

impl Refused {
    fn of(self, name: &Path) -> Error {
        let (reason, hint) = match self {
            Self::CutOff => ("the file is cut off".to_owned(), Some(Hint::Truncated)),
            Self::Other(reason) => (reason, None),
        };
        Error::Image {
            path: name.to_owned(),
            reason,
            hint,
        }
    }
}

impl From<String> for Refused {
    fn from(reason: String) -> Self {
        Self::Other(reason)
    }
}

/// Converts the error of a decoder.
fn other(error: impl std::fmt::Display) -> Refused {
    let reason = error.to_string();
    let at_end = ["failed to fill whole buffer", "unexpected end of file"];
    if at_end.iter().any(|end| reason.contains(end)) {
        return Refused::Other("the file is cut off".to_owned());
    }
    Refused::Other(format!(
        "cannot be decoded: {}",
        reason.trim_end_matches('.')
    ))
}

/// Checks the size of a picture that must be held in memory, and waits for permission to decode it.
fn admitted(height: u64, width: u64) -> Result<([usize; 2], Turn), Refused> {
    let sides = sides(height, width)?;
    let wait = || LARGE_PICTURE.lock().unwrap_or_else(PoisonError::into_inner);
    Ok((sides, (height * width * 3 > LARGE).then(wait)))
}

/// The height and width of a picture that may be held in memory.
fn sides(height: u64, width: u64) -> Result<[usize; 2], Refused> {
    let sides = usize::try_from(height)
        .ok()
        .zip(usize::try_from(width).ok());
    let bytes = height.checked_mul(width).and_then(|n| n.checked_mul(3));
    match (sides, bytes) {
        (_, Some(0)) => Err("the image has no pixel".to_owned().into()),
        (Some((height, width)), Some(..=MAX_BYTES)) => Ok([height, width]),
        _ => Err(too_large(height, width)),
    }
}

fn too_large(height: u64, width: u64) -> Refused {
    let most = MAX_BYTES / 3 / 1_000_000;
    format!("{width}x{height} pixels are too many; reduce it to {most} million").into()
}

/// The orientation of a picture by its EXIF data, or else by its XMP data.
fn orientation(exif: Option<&[u8]>, xmp: Option<&[u8]>) -> Orientation {
    let by_exif = exif.and_then(|exif| {
        Orientation::from_exif_chunk(exif.strip_prefix(b"Exif\0\0").unwrap_or(exif))
    });
    let by_xmp = || {
        const NAME: &[u8] = b"tiff:Orientation";
        let xmp = xmp?;
        let at = xmp.windows(NAME.len()).position(|part| part == NAME)?;
        match &xmp[at + NAME.len()..] {
            [b'=', b'"', digit, ..] | [b'>', digit, ..] => {
                Orientation::from_exif(digit.wrapping_sub(b'0'))
            }
            _ => None,
        }
    };
    by_exif.or_else(by_xmp).unwrap_or(Orientation::NoTransforms)
}

fn turned(picture: Picture, orientation: Orientation) -> Picture {
    if orientation == Orientation::NoTransforms {
        return picture;
    }
    let side = |pixels: usize| u32::try_from(pixels).unwrap_or(u32::MAX);
    let (width, height) = (side(picture.width), side(picture.height));
    let Some(image) = RgbImage::from_raw(width, height, picture.rgb) else {
        unreachable!("a picture is filled by its bytes");
    };
    let mut image = DynamicImage::from(image);
    image.apply_orientation(orientation);
    Picture {
        height: image.height() as usize,
        width: image.width() as usize,
        rgb: image.into_rgb8().into_raw(),
    }
}
