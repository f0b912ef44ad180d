//! Recognises files by their first bytes, and decodes formats that need no module of their own.

use std::io::Cursor;

use image::codecs::{bmp::BmpDecoder, pnm::PnmDecoder, tga::TgaDecoder, webp::WebPDecoder};
use image::metadata::Orientation;
use image::{DynamicImage, ImageDecoder};

use crate::internals::npy;

use super::{
    Picture, Pixels, Refused, Source, Wanted, admitted, clipped, gif, jpeg, orientation, other,
    png, tiff,
};

/// Magic bytes of unsupported formats that are often taken for pictures: their offset, the bytes,
/// and the name of the format.
const FOREIGN: [(usize, &[u8], &str); 19] = [
    (4, b"ftypavi", "an AVIF picture"),
    (4, b"ftyphei", "a HEIC picture"),
    (4, b"ftyphev", "a HEIC picture"),
    (4, b"ftypmif1", "a HEIC picture"),
    (4, b"ftypmsf1", "a HEIC picture"),
    (4, b"ftyp", "a video"),
    (0, b"\x1a\x45\xdf\xa3", "a video"),
    (0, b"\0\0\0\x0cJXL ", "a JPEG XL picture"),
    (0, b"\xff\x0a", "a JPEG XL picture"),
    (0, b"\0\0\0\x0cjP  ", "a JPEG 2000 picture"),
    (0, b"\0\0\x01\0", "a Windows icon"),
    (0, b"8BPS", "a Photoshop document"),
    (0, b"DDS ", "a DDS texture"),
    (0, b"qoif", "a QOI picture"),
    (0, b"\x76\x2f\x31\x01", "an OpenEXR picture"),
    (0, b"%PDF", "a PDF document"),
    (0, b"<svg", "an SVG drawing"),
    (0, b"<?xml", "an XML document, perhaps an SVG drawing"),
    (0, b"PK\x03\x04", "a zip archive"),
];

/// The first bytes of other content that is downloaded in place of a picture by mistake.
const MISTAKEN: [(&[u8], &str); 5] = [
    (
        npy::MAGIC,
        "a NumPy array, which only networks of other than one or three channels take; save it as a PNG",
    ),
    (
        b"version https://git-lfs",
        "a Git LFS pointer; `git lfs pull` fetches the file itself",
    ),
    (b"<!doctype html", "a web page; download the picture itself"),
    (b"<html", "a web page; download the picture itself"),
    (b"\x1f\x8b", "compressed by gzip; unpack it"),
];

/// Decodes a file of any supported format.
pub(super) fn decode<'a>(
    bytes: &'a [u8],
    truncated: bool,
    wanted: Wanted<'_>,
) -> Result<Source<'a>, Refused> {
    match bytes {
        [] => Err("the file is empty".to_owned().into()),
        [0xff, 0xd8, 0xff, ..] => jpeg::decode(bytes, truncated, wanted),
        [0x89, b'P', b'N', b'G', ..] => png::decode(bytes, truncated),
        [b'G', b'I', b'F', b'8', ..] => gif::decode(bytes),
        [b'I', b'I', 42 | 43, 0, ..] | [b'M', b'M', 0, 42 | 43, ..] => tiff::decode(bytes),
        [
            b'R',
            b'I',
            b'F',
            b'F',
            _,
            _,
            _,
            _,
            b'W',
            b'E',
            b'B',
            b'P',
            ..,
        ] => webp(bytes),
        [b'B', b'M', ..] => {
            let source = plain(BmpDecoder::new(Cursor::new(bytes)).map_err(other)?)?;
            let green = bytes.get(58..62) == Some(&[0xe0, 7, 0, 0]);
            Ok(match bytes.get(28..30) {
                Some([16, 0]) => coarse(source, [31, if green { 63 } else { 31 }, 31]),
                _ => source,
            })
        }
        [b'P', b'1'..=b'6', space, ..] if space.is_ascii_whitespace() => {
            let pnm = || PnmDecoder::new(Cursor::new(bytes)).map_err(other);
            match pnm()?.into_inner().1.maximal_sample() {
                // Those that scale to 255 without rounding.
                most if most == 65_535 || 255 % most.max(1) == 0 => plain(pnm()?),
                most => Err(format!(
                    "values up to {most}, not 255, are not read; convert it to PNG"
                )
                .into()),
            }
        }
        _ => match foreign(bytes) {
            Some(what) => Err(what.into()),
            None if is_tga(bytes) => {
                let source = plain(TgaDecoder::new(Cursor::new(bytes)).map_err(other)?)?;
                let is_coarse = match bytes[2] % 8 {
                    1 => matches!(bytes[7], 15 | 16),
                    kind => kind == 2 && matches!(bytes[16], 15 | 16),
                };
                Ok(if is_coarse {
                    coarse(source, [31; 3])
                } else {
                    source
                })
            }
            None => {
                let kinds = "neither JPEG, PNG, WebP, GIF, BMP, TIFF, TGA nor PNM";
                Err(format!("{kinds}; convert it to one of them").into())
            }
        },
    }
}

/// Names a file that is not a picture, or not a supported one.
fn foreign(bytes: &[u8]) -> Option<String> {
    let starts = |start: &[u8]| {
        let head = bytes.get(..start.len());
        head.is_some_and(|head| head.eq_ignore_ascii_case(start))
    };
    let mistaken = MISTAKEN.iter().find(|(start, _)| starts(start));
    let at = |&(at, start, _): &_| {
        bytes
            .get(at..)
            .is_some_and(|rest: &[u8]| rest.starts_with(start))
    };
    mistaken
        .map(|(_, what)| format!("it is {what}"))
        .or_else(|| {
            let (_, _, what) = FOREIGN.iter().find(|kind| at(kind))?;
            Some(format!(
                "it is {what}, which is not supported; convert it to JPEG or PNG"
            ))
        })
}

/// TGA has no magic bytes: the fields of its header must be plausible.
fn is_tga(bytes: &[u8]) -> bool {
    let [_, palette, kind, head @ ..] = bytes else {
        return false;
    };
    let depth = head.get(13);
    *palette <= 1
        && matches!(kind, 1..=3 | 9..=11)
        && depth.is_some_and(|depth| [8, 15, 16, 24, 32].contains(depth))
}

/// Checks that no chunk of a WebP is longer than the file, because the decoder trusts the stated
/// lengths.
fn webp(bytes: &[u8]) -> Result<Source<'static>, Refused> {
    let cut_off = || Refused::Other("the file is cut off".to_owned());
    let length = |four: &[u8; 4]| u32::from_le_bytes(*four) as usize;
    let whole = bytes.get(4..).and_then(<[u8]>::first_chunk).map(length);
    let mut rest = whole.and_then(|whole| bytes.get(12..whole.checked_add(8)?));
    let [mut exif, mut xmp] = [None; 2];
    while let Some((name, after)) = rest.ok_or_else(cut_off)?.split_first_chunk::<4>() {
        let (size, after) = after.split_first_chunk().ok_or_else(cut_off)?;
        let body = after.get(..length(size)).ok_or_else(cut_off)?;
        match name {
            b"EXIF" => exif = Some(body),
            b"XMP " => xmp = Some(body),
            _ => {}
        }
        rest = after.get(body.len() + body.len() % 2..);
    }
    let mut source = plain(WebPDecoder::new(Cursor::new(bytes)).map_err(other)?)?;
    source.orientation = orientation(exif, xmp);
    Ok(source)
}

/// Decodes with a decoder of the `image` crate.
fn plain(decoder: impl ImageDecoder) -> Result<Source<'static>, Refused> {
    let (width, height) = decoder.dimensions();
    let ([height, width], turn) = admitted(height.into(), width.into())?;
    let image = DynamicImage::from_decoder(decoder).map_err(other)?;
    let rgb = match image {
        // Only PNM has 16-bit pixels. Pillow clips grey values and scales colours.
        DynamicImage::ImageLuma16(greys) => {
            greys.into_raw().into_iter().flat_map(clipped).collect()
        }
        DynamicImage::ImageRgb16(colors) => {
            let rounded = |color: u16| ((u32::from(color) + 128) / 257).to_le_bytes()[0];
            colors.into_raw().into_iter().map(rounded).collect()
        }
        DynamicImage::ImageRgba8(pixels) => {
            // In place, as a second copy of a large picture would take much memory.
            let mut bytes = pixels.into_raw();
            for pixel in 0..bytes.len() / 4 {
                bytes.copy_within(4 * pixel..4 * pixel + 3, 3 * pixel);
            }
            bytes.truncate(bytes.len() / 4 * 3);
            bytes
        }
        other => other.into_rgb8().into_raw(),
    };
    let picture = Picture { height, width, rgb };
    Ok(Source::all(picture, turn, Orientation::NoTransforms))
}

/// Corrects channels of five or six bits, which `image` rounds to eight and Pillow truncates.
fn coarse(mut source: Source<'static>, levels: [u16; 3]) -> Source<'static> {
    if let Pixels::All(picture, _) = &mut source.pixels {
        for (byte, most) in picture.rgb.iter_mut().zip(levels.into_iter().cycle()) {
            let level = (u16::from(*byte) * most + 127) / 255;
            *byte = (level * 255 / most).to_le_bytes()[0];
        }
    }
    source
}
