//! TIFF: the first page.

use std::borrow::Cow;
use std::io::Cursor;

use image::metadata::Orientation;
use tiff::TiffUnsupportedError::UnsupportedCompressionMethod;
use tiff::decoder::ifd::Value;
use tiff::decoder::{Decoder, DecodingResult, Limits};
use tiff::tags::Tag;
use tiff::{ColorType, TiffError};

use super::jpeg::{self, inverted_cmyk};
use super::{MAX_BYTES, Picture, Refused, Source, admitted, clipped, other};

// Values of tags.
const WHITE_IS_ZERO: u16 = 0;
const PALETTE: u16 = 3;
const GREY: u8 = 1;
const PLANES: u16 = 2;
const REVERSED_BITS: u16 = 2;
const PREMULTIPLIED: u16 = 1;
const JPEG: u16 = 7;
const OLD_JPEG: u16 = 6;
const JPEG_2000: u16 = 34_712;
const LZMA: u16 = 34_925;
const WEBP: u16 = 50_001;
const BLACK_IS_ZERO: usize = 1;
const RGB: usize = 2;
const YCBCR: usize = 6;

// Segments of a JPEG: its ends, and what says the meaning of three channels.
const START_OF_IMAGE: &[u8] = b"\xff\xd8";
const END_OF_IMAGE: &[u8] = b"\xff\xd9";
const RED_GREEN_BLUE: &[u8] = b"\xff\xee\0\x0eAdobe\0\x64\0\0\0\0\0";
const LUMA_AND_CHROMA: &[u8] = b"\xff\xee\0\x0eAdobe\0\x64\0\0\0\0\x01";

/// Decodes a TIFF.
pub(super) fn decode(bytes: &[u8]) -> Result<Source<'static>, Refused> {
    let mut limits = Limits::default();
    // Up to four channels of 16 bits.
    limits.decoding_buffer_size = usize::try_from(MAX_BYTES / 3 * 8).unwrap_or(usize::MAX);
    limits.intermediate_buffer_size = limits.decoding_buffer_size;
    let bytes = indices_as_greys(bytes);
    let mut decoder = Decoder::new(Cursor::new(&*bytes)).map_err(unreadable)?;
    decoder = decoder.with_limits(limits);
    let (width, height) = decoder.dimensions().map_err(unreadable)?;
    let ([height, width], turn) = admitted(height.into(), width.into())?;
    let mut tag = |tag| {
        decoder
            .find_tag_unsigned_vec::<u16>(tag)
            .map_err(unreadable)
    };
    let is = |values: &Option<Vec<u16>>, value| values.as_deref() == Some(&[value]);
    let planes = is(&tag(Tag::PlanarConfiguration)?, PLANES);
    let reversed = is(&tag(Tag::FillOrder)?, REVERSED_BITS);
    let white = is(&tag(Tag::PhotometricInterpretation)?, WHITE_IS_ZERO);
    let blended = is(&tag(Tag::ExtraSamples)?, PREMULTIPLIED);
    let palette = tag(Tag::ColorMap)?;
    let turned = tag(Tag::Orientation)?.and_then(|turn| u8::try_from(*turn.first()?).ok());
    let orientation = turned.and_then(Orientation::from_exif);
    let orientation = orientation.unwrap_or(Orientation::NoTransforms);
    if is(&tag(Tag::Compression)?, JPEG) && !planes && !white {
        let rgb = of_jpegs(&mut decoder, &bytes, [height, width])?;
        let picture = Picture { height, width, rgb };
        return Ok(Source::all(picture, turn, orientation));
    }
    let color = decoder.colortype().map_err(unreadable)?;
    let pixels = decoder.read_image().map_err(unreadable)?;
    let rgb: Option<Vec<u8>> = match (color, pixels) {
        _ if reversed || (planes && color.num_samples() > 1) => None,
        (ColorType::Gray(bits @ (1 | 2 | 4 | 8)), DecodingResult::U8(packed)) => {
            let most = u8::MAX >> (8 - bits);
            let values = unpacked(&packed, bits, most, width);
            let color = |value: u8| match &palette {
                None => Some([value * (u8::MAX / most); 3]),
                Some(colors) => {
                    let at = |c| colors.get(c * (usize::from(most) + 1) + usize::from(value));
                    Some([upper(at(0)?), upper(at(1)?), upper(at(2)?)])
                }
            };
            let colors: Option<Vec<[u8; 3]>> = values.map(color).collect();
            colors.map(Vec::into_flattened)
        }
        (ColorType::Gray(16), DecodingResult::U16(greys)) if !white => {
            Some(greys.into_iter().flat_map(clipped).collect())
        }
        (color, DecodingResult::U8(samples)) => joined(color, samples, blended),
        (color, DecodingResult::U16(samples)) => {
            let samples: Vec<u8> = samples.iter().map(upper).collect();
            joined(color, samples, blended)
        }
        _ => None,
    };
    let rgb = rgb.filter(|rgb| rgb.len() == height * width * 3);
    let rgb = rgb.ok_or_else(|| {
        let what = "a TIFF of this kind of pixels is not read; save it as 8-bit RGB or as PNG";
        Refused::Other(format!("{what} ({color:?})"))
    })?;
    let picture = Picture { height, width, rgb };
    Ok(Source::all(picture, turn, orientation))
}

/// Strips or tiles that are JPEGs each, whose tables may stand elsewhere.
fn of_jpegs(
    decoder: &mut Decoder<Cursor<&[u8]>>,
    bytes: &[u8],
    [height, width]: [usize; 2],
) -> Result<Vec<u8>, Refused> {
    let damaged = || Refused::Other("its parts are not where it says".to_owned());
    let tables = decoder.find_tag(Tag::JPEGTables).map_err(unreadable)?;
    let tables = tables
        .map(Value::into_u8_vec)
        .transpose()
        .map_err(unreadable)?;
    let tables = tables.as_deref().and_then(|tables| {
        let tables = tables.strip_prefix(START_OF_IMAGE)?;
        tables.strip_suffix(END_OF_IMAGE)
    });
    let mut list = |tag| {
        decoder
            .find_tag_unsigned_vec::<usize>(tag)
            .map_err(unreadable)
    };
    let colors = match list(Tag::PhotometricInterpretation)?.as_deref() {
        Some([BLACK_IS_ZERO]) => &[][..],
        Some([RGB]) => RED_GREEN_BLUE,
        Some([YCBCR]) => LUMA_AND_CHROMA,
        _ => {
            let what = "JPEG compression of other than grey and RGB is not read";
            return Err(Refused::Other(format!(
                "{what}; save it as 8-bit RGB or as PNG"
            )));
        }
    };
    let offsets = list(Tag::TileOffsets)?.or(list(Tag::StripOffsets)?);
    let lengths = list(Tag::TileByteCounts)?.or(list(Tag::StripByteCounts)?);
    let (offsets, lengths) = offsets.zip(lengths).ok_or_else(damaged)?;
    let (across, down) = decoder.chunk_dimensions();
    let [across, down] = [across as usize, down as usize];
    if across == 0 || down == 0 || offsets.len() != width.div_ceil(across) * height.div_ceil(down) {
        return Err(damaged());
    }
    let mut rgb = vec![0; height * width * 3];
    for (index, (offset, length)) in offsets.into_iter().zip(lengths).enumerate() {
        let chunk = bytes.get(offset..).and_then(|bytes| bytes.get(..length));
        let chunk = chunk.and_then(|chunk| chunk.strip_prefix(START_OF_IMAGE));
        let parts = [
            START_OF_IMAGE,
            colors,
            tables.unwrap_or_default(),
            chunk.ok_or_else(damaged)?,
        ];
        let part = jpeg::part(&parts.concat(), [down, across])?;
        let in_row = width.div_ceil(across);
        let (top, left) = (index / in_row * down, index % in_row * across);
        let [rows, columns] = [down.min(height - top), across.min(width - left)];
        if part.width < columns || part.height < rows {
            return Err(damaged());
        }
        for (y, row) in part.rgb.chunks(part.width * 3).take(rows).enumerate() {
            rgb[((top + y) * width + left) * 3..][..columns * 3]
                .copy_from_slice(&row[..columns * 3]);
        }
    }
    Ok(rgb)
}

fn unreadable(error: TiffError) -> Refused {
    let advice = "save it as 8-bit RGB without compression, or as PNG";
    match error {
        TiffError::UnsupportedError(UnsupportedCompressionMethod(method)) => {
            let name = match method.to_u16() {
                OLD_JPEG => "old-style JPEG".to_owned(),
                LZMA => "LZMA".to_owned(),
                WEBP => "WebP".to_owned(),
                JPEG_2000 => "JPEG 2000".to_owned(),
                _ => format!("{method:?}"),
            };
            format!("compression by {name} is not read; {advice}").into()
        }
        TiffError::UnsupportedError(what) => format!("{what}; {advice}").into(),
        error => other(error),
    }
}

fn upper(sample: &u16) -> u8 {
    sample.to_be_bytes()[0]
}

/// Unpacks grey values or indices of fewer than 8 bits; each row starts at a new byte.
fn unpacked(packed: &[u8], bits: u8, most: u8, width: usize) -> impl Iterator<Item = u8> {
    let each = usize::from(8 / bits);
    packed.chunks(width.div_ceil(each)).flat_map(move |row| {
        let sample = move |x: usize| {
            let shift = 8 - bits - (x % each).to_le_bytes()[0] * bits;
            row.get(x / each).map(|byte| (byte >> shift) & most)
        };
        (0..width).filter_map(sample)
    })
}

/// RGB from interleaved samples.
fn joined(color: ColorType, samples: Vec<u8>, blended: bool) -> Option<Vec<u8>> {
    Some(match color {
        ColorType::RGB(8 | 16) => samples,
        ColorType::RGBA(8 | 16) => {
            let pixels = samples.as_chunks::<4>().0.iter();
            pixels
                .flat_map(|&[r, g, b, alpha]| {
                    [r, g, b].map(|part| {
                        let whole = (u16::from(part) * 255)
                            .checked_div(alpha.into())
                            .unwrap_or(0);
                        if blended {
                            u8::try_from(whole).unwrap_or(u8::MAX)
                        } else {
                            part
                        }
                    })
                })
                .collect()
        }
        ColorType::CMYK(8 | 16) => {
            let pixels = samples.as_chunks::<4>().0.iter();
            pixels
                .flat_map(|pixel| inverted_cmyk(&pixel.map(|ink| !ink)))
                .collect()
        }
        ColorType::Multiband {
            bit_depth: 8,
            num_samples: 2,
        } if !blended => {
            let pixels = samples.as_chunks::<2>().0.iter();
            pixels.flat_map(|&[grey, _]| [grey; 3]).collect()
        }
        _ => return None,
    })
}

/// The file with palette indices redeclared as grey values, which the decoder can read.
fn indices_as_greys(bytes: &[u8]) -> Cow<'_, [u8]> {
    let place = || {
        let little = bytes.first() == Some(&b'I');
        let number = |at: usize, count: usize| {
            let bytes = bytes.get(at..at.checked_add(count)?)?;
            let joined = |sum, &byte| sum << 8 | usize::from(byte);
            Some(if little {
                bytes.iter().rev().fold(0, joined)
            } else {
                bytes.iter().fold(0, joined)
            })
        };
        let directory = number(4, 4)?;
        let entries = (0..number(directory, 2)?).map(|entry| directory + 2 + 12 * entry);
        let tag = usize::from(Tag::PhotometricInterpretation.to_u16());
        let entry = entries
            .into_iter()
            .find(|&entry| number(entry, 2) == Some(tag))?;
        let is_palette = number(entry + 8, 2)? == usize::from(PALETTE);
        is_palette.then_some(entry + 8 + usize::from(!little))
    };
    match place() {
        Some(place) => {
            let mut bytes = bytes.to_vec();
            bytes[place] = GREY;
            Cow::Owned(bytes)
        }
        None => Cow::Borrowed(bytes),
    }
}
