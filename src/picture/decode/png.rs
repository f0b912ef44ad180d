//! PNG, decoded row by row.

use std::io::{Cursor, ErrorKind};

use png::{BitDepth, ColorType, DecodingError, InterlaceInfo, Limits, Transformations};

use super::{
    MAX_STREAMED, Picture, Pixels, Refused, Source, Turn, admitted, orientation, other, too_large,
};

/// Maximum number of bytes for data other than pixels.
const MAX_ANCILLARY: usize = 64 << 20;

/// Decodes the rows of a picture to RGB.
pub(super) struct Rows<'a> {
    reader: png::Reader<Cursor<&'a [u8]>>,
    /// The colour type in the file.
    original: ColorType,
    truncated: bool,
    /// The colour of pixels that are cut off.
    rest: [u8; 3],
}

/// Reads the header of a PNG.
pub(super) fn decode(bytes: &[u8], truncated: bool) -> Result<Source<'_>, Refused> {
    let limits = Limits {
        bytes: MAX_ANCILLARY,
    };
    let mut decoder = png::Decoder::new_with_limits(Cursor::new(bytes), limits);
    decoder.set_transformations(Transformations::EXPAND);
    decoder.set_ignore_iccp_chunk(true);
    let reader = decoder.read_info().map_err(refused)?;
    let info = reader.info();
    let mut texts = info.utf8_text.iter();
    let xmp = texts.find(|text| text.keyword == "XML:com.adobe.xmp");
    let xmp = xmp.and_then(|text| text.get_text().ok());
    let orientation = orientation(exif(bytes), xmp.as_deref().map(str::as_bytes));
    let original = info.color_type;
    let palette = info.palette.as_deref().and_then(<[u8]>::first_chunk);
    let rest = palette.filter(|_| original == ColorType::Indexed);
    let rest = rest.copied().unwrap_or_default();
    let rows = Rows {
        original,
        reader,
        truncated,
        rest,
    };
    let [height, width] = rows.size();
    if height as u64 * width as u64 > MAX_STREAMED {
        return Err(too_large(height as u64, width as u64));
    }
    Ok(Source {
        pixels: Pixels::Rows(Box::new(rows)),
        orientation,
    })
}

/// The EXIF data, which may follow the pixels.
fn exif(bytes: &[u8]) -> Option<&[u8]> {
    let mut rest = bytes.get(8..)?;
    loop {
        let (length, after) = rest.split_first_chunk()?;
        let (kind, after) = after.split_first_chunk()?;
        let (body, after) = after.split_at_checked(u32::from_be_bytes(*length) as usize)?;
        if kind == b"eXIf" {
            return Some(body);
        }
        rest = after.get(4..)?;
    }
}

fn refused(error: DecodingError) -> Refused {
    match error {
        DecodingError::IoError(error) if error.kind() == ErrorKind::UnexpectedEof => {
            Refused::CutOff
        }
        DecodingError::LimitsExceeded => {
            let mebibytes = MAX_ANCILLARY >> 20;
            let reason = format!("needs more than {mebibytes} MiB beside its pixels");
            Refused::Other(reason)
        }
        error => other(error),
    }
}

impl Rows<'_> {
    /// Height and width.
    pub(super) fn size(&self) -> [usize; 2] {
        let info = self.reader.info();
        [info.height as usize, info.width as usize]
    }

    /// Whether rows come in order, top to bottom: the image is not interlaced.
    pub(super) fn in_order(&self) -> bool {
        !self.reader.info().interlaced
    }

    /// All rows.
    pub(super) fn collect(mut self) -> Result<(Picture, Turn), Refused> {
        let size = self.size().map(|side| side as u64);
        let ([height, width], turn) = admitted(size[0], size[1])?;
        let mut rgb = self.rest.repeat(height * width);
        if self.in_order() {
            let mut places = rgb.chunks_exact_mut(width * 3);
            self.each(|row| {
                if let Some(place) = places.next() {
                    place.copy_from_slice(row);
                }
            })?;
        } else {
            let mut row = Vec::new();
            while let Some(at) = self.next(&mut row)? {
                if let InterlaceInfo::Adam7(at) = at {
                    png::expand_interlaced_row(&mut rgb, width * 3, &row, &at, 24);
                }
            }
        }
        Ok((Picture { height, width, rgb }, turn))
    }

    /// Reads every row from top to bottom, so that any damage is found.
    pub(super) fn each(&mut self, mut each: impl FnMut(&[u8])) -> Result<(), Refused> {
        let [height, width] = self.size();
        let mut row = Vec::new();
        for _ in 0..height {
            if self.next(&mut row)?.is_none() {
                row = self.rest.repeat(width);
            }
            each(&row);
        }
        Ok(())
    }

    /// Decodes a row; `None` after the last one, or where an acceptably truncated file ends.
    fn next(&mut self, rgb: &mut Vec<u8>) -> Result<Option<InterlaceInfo>, Refused> {
        let (color, depth) = self.reader.output_color_type();
        let row = match self.reader.next_interlaced_row() {
            Ok(Some(row)) => row,
            Ok(None) => return Ok(None),
            Err(error) => {
                return match refused(error) {
                    Refused::CutOff if self.truncated => Ok(None),
                    refused => Err(refused),
                };
            }
        };
        rgb.clear();
        let bytes = usize::from(depth == BitDepth::Sixteen) + 1;
        match color {
            ColorType::Rgb if bytes == 1 => rgb.extend_from_slice(row.data()),
            ColorType::Grayscale | ColorType::GrayscaleAlpha => {
                // Pillow keeps all 16 bits of grey until it clips them, unless there is alpha.
                let whole = self.original == ColorType::Grayscale;
                let grey = |pixel: &[u8]| match *pixel {
                    [0, low, ..] if bytes == 2 && whole => [low; 3],
                    [_, _, ..] if bytes == 2 && whole => [u8::MAX; 3],
                    [high, ..] => [high; 3],
                    [] => [0; 3],
                };
                let pixels = row.data().chunks_exact(color.samples() * bytes);
                rgb.extend(pixels.flat_map(grey));
            }
            ColorType::Rgb | ColorType::Rgba | ColorType::Indexed => {
                let pixels = row.data().chunks_exact(color.samples() * bytes);
                rgb.extend(pixels.flat_map(|pixel| [0, bytes, 2 * bytes].map(|at| pixel[at])));
            }
        }
        Ok(Some(*row.interlace()))
    }
}
