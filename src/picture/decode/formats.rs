//! What kind of file it is, by its first bytes, and the kinds that need no module of their own.

use std::io::Cursor;

use image::codecs::{bmp::BmpDecoder, pnm::PnmDecoder, tga::TgaDecoder, webp::WebPDecoder};
use image::metadata::Orientation;
use image::{DynamicImage, ImageDecoder};

use super::{Picture, Refused, Source, admitted, gif, jpeg, orientation, other, png, tiff};

/// Bytes with which files start that many take for pictures, where they lie, and what they are.
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

/// What files hold that came in the place of a picture.
const MISTAKEN: [(&[u8], &str); 4] = [
    (
        b"version https://git-lfs",
        "a Git LFS pointer; `git lfs pull` fetches the file itself",
    ),
    (b"<!doctype html", "a web page; download the picture itself"),
    (b"<html", "a web page; download the picture itself"),
    (b"\x1f\x8b", "compressed by gzip; unpack it"),
];

/// Decodes a file of any kind.
pub(super) fn decode(bytes: &[u8], truncated: bool) -> Result<Source<'_>, Refused> {
    match bytes {
        [] => Err("the file is empty".to_owned().into()),
        [0xff, 0xd8, 0xff, ..] => jpeg::decode(bytes, truncated),
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
        [b'B', b'M', ..] => plain(BmpDecoder::new(Cursor::new(bytes)).map_err(other)?),
        [b'P', b'1'..=b'6', space, ..] if space.is_ascii_whitespace() => {
            plain(PnmDecoder::new(Cursor::new(bytes)).map_err(other)?)
        }
        _ => match foreign(bytes) {
            Some(what) => Err(what.into()),
            None if is_tga(bytes) => plain(TgaDecoder::new(Cursor::new(bytes)).map_err(other)?),
            None => {
                let kinds = "neither JPEG, PNG, WebP, GIF, BMP, TIFF, TGA nor PNM";
                Err(format!("{kinds}; convert it to one of them").into())
            }
        },
    }
}

/// What a file is that is no picture, or none that is read.
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
                "it is {what}, which is not read; convert it to JPEG or PNG"
            ))
        })
}

/// TGA has no mark at its start: the numbers of its head must be possible.
fn is_tga(bytes: &[u8]) -> bool {
    matches!(
        bytes,
        [
            _,
            0 | 1,
            1 | 2 | 3 | 9 | 10 | 11,
            _,
            _,
            _,
            _,
            _,
            _,
            _,
            _,
            _,
            _,
            _,
            _,
            _,
            8 | 15 | 16 | 24 | 32,
            ..
        ]
    )
}

/// The chunks of a WebP, of which none may be longer than the file: the decoder believes their lengths.
fn webp(bytes: &[u8]) -> Result<Source<'static>, Refused> {
    let [mut exif, mut xmp] = [None; 2];
    let mut rest = bytes.get(12..).unwrap_or(&[]);
    while let Some((head, after)) = rest.split_first_chunk::<8>() {
        let [a, b, c, d, length @ ..] = *head;
        let length = u32::from_le_bytes(length) as usize;
        let body = after
            .get(..length)
            .ok_or("the file is cut off".to_owned())?;
        match &[a, b, c, d] {
            b"EXIF" => exif = Some(body),
            b"XMP " => xmp = Some(body),
            _ => {}
        }
        rest = after.get(length + length % 2..).unwrap_or(&[]);
    }
    let mut source = plain(WebPDecoder::new(Cursor::new(bytes)).map_err(other)?)?;
    source.orientation = orientation(exif, xmp);
    Ok(source)
}

/// What a decoder of the crate `image` decodes.
fn plain(decoder: impl ImageDecoder) -> Result<Source<'static>, Refused> {
    let (width, height) = decoder.dimensions();
    let ([height, width], turn) = admitted(height.into(), width.into())?;
    let image = DynamicImage::from_decoder(decoder).map_err(other)?;
    let rgb = match image {
        // Of these two kinds only PNM has any. Pillow clips greys, and rounds colours.
        DynamicImage::ImageLuma16(greys) => {
            let clipped = |grey: u16| [u8::try_from(grey).unwrap_or(u8::MAX); 3];
            greys.into_raw().into_iter().flat_map(clipped).collect()
        }
        DynamicImage::ImageRgb16(colors) => {
            let rounded = |color: u16| ((u32::from(color) + 128) / 257).to_le_bytes()[0];
            colors.into_raw().into_iter().map(rounded).collect()
        }
        other => other.into_rgb8().into_raw(),
    };
    let picture = Picture { height, width, rgb };
    Ok(Source::all(picture, turn, Orientation::NoTransforms))
}
