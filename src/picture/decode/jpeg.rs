//! JPEG, computed as by libjpeg-turbo, which Pillow uses.
//!
//! Of a file that is cut off this takes more than Pillow, if that is asked for: Pillow's picture is black from
//! where arithmetic coding ends, and all of it where a progressive file ends within a segment between two scans.

use std::borrow::Cow;

use libjpeg_turbo_rs::{
    ColorSpace, DecodeLimits, DecodeWarning, Decoder, PixelFormat, ScalingFactor,
};

use super::{Picture, Pixels, Refused, Source, Turn, Wanted, admitted, orientation, other, sides};

/// Maximum number of scans. Encoders write about ten; each may take as long as a whole picture.
const MAX_SCANS: usize = 100;

/// Decodes a JPEG. Anything after the first picture, as in an MPO, is ignored.
pub(super) fn decode(
    bytes: &[u8],
    truncated: bool,
    wanted: Wanted<'_>,
) -> Result<Source<'static>, Refused> {
    let bytes = match cut_off(bytes) {
        None => Cow::Borrowed(bytes),
        Some(length) if truncated => Cow::Owned([&bytes[..length], &[0xff, END_OF_IMAGE]].concat()),
        Some(_) => return Err(Refused::CutOff),
    };
    source(&bytes, DecodeLimits::default(), admitted, wanted)
}

/// Decodes a JPEG that is a part of a picture, of at most so many rows and columns.
pub(super) fn part(bytes: &[u8], [height, width]: [usize; 2]) -> Result<Picture, Refused> {
    if cut_off(bytes).is_some() {
        return Err(Refused::CutOff);
    }
    let limits = DecodeLimits {
        max_height: height,
        max_width: width,
        ..DecodeLimits::default()
    };
    // The whole picture was admitted.
    let admitted = |height, width| Ok((sides(height, width)?, None));
    match source(bytes, limits, admitted, &|_, _| None)?.pixels {
        Pixels::All(picture, _) => Ok(picture),
        Pixels::Rows(_) => Err(unusual()),
    }
}

/// Decodes what is whole, within limits, once its size is admitted.
fn source(
    bytes: &[u8],
    limits: DecodeLimits,
    admitted: impl FnOnce(u64, u64) -> Result<([usize; 2], Turn), Refused>,
    wanted: Wanted<'_>,
) -> Result<Source<'static>, Refused> {
    let limits = DecodeLimits {
        max_scans: MAX_SCANS,
        ..limits
    };
    let mut decoder = Decoder::new_with_limits(bytes, limits).map_err(other)?;
    let frame = decoder.header();
    let ([height, width], turn) = admitted(frame.height.into(), frame.width.into())?;
    if frame.precision != 8 {
        return Err(format!("{} bits a channel; only 8 are supported", frame.precision).into());
    }
    let parts = frame.components.iter();
    let sampling: Vec<[u8; 2]> = parts
        .map(|part| [part.vertical_sampling, part.horizontal_sampling])
        .collect();
    // Like libjpeg, conceals damaged parts instead of refusing them.
    decoder.set_lenient(true);
    decoder.set_block_smoothing(true);
    let orientation = orientation(decoder.exif_data(), decoder.xmp_data());
    let mut size = [height, width];
    if sampling.len() < 4
        && let Some(factor) = wanted(size, orientation).and_then(|wanted| reduction(size, wanted))
    {
        decoder.set_scale(factor);
        size = size.map(|side| factor.scale_dim(side));
    }
    let rgb = match sampling[..] {
        [_] => {
            let grey = pixels(&mut decoder, PixelFormat::Grayscale)?;
            grey.into_iter().flat_map(|grey| [grey; 3]).collect()
        }
        [_, _, _] => pixels(&mut decoder, PixelFormat::Rgb)?,
        [c, m, y, k] if c == k && m == y => {
            let cmyk = pixels(&mut decoder, PixelFormat::Cmyk)?;
            cmyk.as_chunks().0.iter().flat_map(inverted_cmyk).collect()
        }
        [c, m, y, k] if decoder.jpeg_color_space() == ColorSpace::Cmyk && m == y && m == k => {
            cmyk_by_planes(decoder, size, [c, m])?
        }
        _ => return Err(unusual()),
    };
    let [height, width] = size;
    let picture = Picture { height, width, rgb };
    Ok(Source::all(picture, turn, orientation))
}

/// The smallest eighth of a picture's size that leaves twice what is wanted of it, if that is less than the whole.
fn reduction(size: [usize; 2], wanted: [usize; 2]) -> Option<ScalingFactor> {
    let leaves_enough = |factor: &ScalingFactor| {
        let sides = size.into_iter().zip(wanted);
        sides
            .into_iter()
            .all(|(side, wanted)| factor.scale_dim(side) / 2 >= wanted)
    };
    let reductions = ScalingFactor::SUPPORTED.iter().rev();
    let reductions = reductions.filter(|factor| factor.num() < factor.denom());
    reductions.copied().find(leaves_enough)
}

fn pixels(decoder: &mut Decoder<'_>, format: PixelFormat) -> Result<Vec<u8>, Refused> {
    decoder.set_output_format(format);
    let image = decoder.decode_image().map_err(other)?;
    let guessed = |warning: &_| matches!(warning, DecodeWarning::UnsupportedRecovered { .. });
    if image.warnings.iter().any(guessed) {
        return Err(unusual());
    }
    Ok(image.data)
}

fn unusual() -> Refused {
    "its channels are sampled in an unusual way; save it again as an ordinary JPEG or PNG"
        .to_owned()
        .into()
}

/// Converts CMYK to RGB in Pillow's integers; JPEGs store the channels inverted.
pub(super) fn inverted_cmyk(&[c, m, y, k]: &[u8; 4]) -> [u8; 3] {
    [c, m, y].map(|rest| {
        let product = u32::from(255 - rest) * u32::from(k) + 128;
        k - (((product >> 8) + product) >> 8).to_le_bytes()[0]
    })
}

// === Four channels of which only the first is whole ===

/// The decoder returns planes here, which are enlarged as by libjpeg's "fancy" upsampling.
fn cmyk_by_planes(
    decoder: Decoder<'_>,
    [height, width]: [usize; 2],
    [whole, part]: [[u8; 2]; 2],
) -> Result<Vec<u8>, Refused> {
    let tall = match [whole, part] {
        [[1, 2], [1, 1]] => false,
        [[2, 2], [1, 1]] => true,
        _ => return Err(unusual()),
    };
    let raw = decoder.decode_raw().map_err(other)?;
    let planes = raw.planes.iter().zip(&raw.plane_widths);
    let mut rows: Vec<_> = planes
        .map(|(plane, &stride)| plane.chunks(stride))
        .collect();
    let [first, rest @ ..] = &mut rows[..] else {
        return Err(unusual());
    };
    let small: Vec<Vec<&[u8]>> = rest
        .iter_mut()
        .map(|rows| {
            let rows = rows.take(height.div_ceil(1 + usize::from(tall)));
            rows.map(|row| &row[..width.div_ceil(2)]).collect()
        })
        .collect();
    let mut rgb = Vec::with_capacity(height * width * 3);
    for (y, cyan) in first.take(height).enumerate() {
        let others: Vec<Vec<u8>> = small.iter().map(|rows| enlarged(rows, y, tall)).collect();
        let [magenta, yellow, black] = &others[..] else {
            return Err(unusual());
        };
        for x in 0..width {
            rgb.extend(inverted_cmyk(&[cyan[x], magenta[x], yellow[x], black[x]]));
        }
    }
    Ok(rgb)
}

/// Row `y` of a plane enlarged to twice its width, and to twice its height if `tall`: along each
/// axis, a sample is 3/4 of the nearest one and 1/4 of the next. Planes up to two columns wide are
/// repeated instead.
fn enlarged(rows: &[&[u8]], y: usize, tall: bool) -> Vec<u8> {
    let near = rows[if tall { y / 2 } else { y }];
    if near.len() <= 2 {
        return near.iter().flat_map(|&sample| [sample; 2]).collect();
    }
    let (sums, halves, shift): (Vec<u32>, _, _) = if tall {
        let beside = if y.is_multiple_of(2) {
            (y / 2).saturating_sub(1)
        } else {
            y / 2 + 1
        };
        let far = rows[beside.min(rows.len() - 1)].iter();
        let pairs = near.iter().zip(far);
        (
            pairs
                .map(|(&near, &far)| 3 * u32::from(near) + u32::from(far))
                .collect(),
            [8, 7],
            4,
        )
    } else {
        (near.iter().map(|&near| near.into()).collect(), [1, 2], 2)
    };
    let last = sums.len() - 1;
    let at = |x: usize| {
        let beside = [sums[x.saturating_sub(1)], sums[last.min(x + 1)]];
        [0, 1].map(|i| ((3 * sums[x] + beside[i] + halves[i]) >> shift).to_le_bytes()[0])
    };
    (0..=last).flat_map(at).collect()
}

// === Where a file ends ===

const START_OF_SCAN: u8 = 0xda;
const END_OF_IMAGE: u8 = 0xd9;

/// How many bytes of a truncated file are usable; `None` if it is complete. It is if a marker
/// follows the compressed data: any marker if there is one scan, the end of the image if there may
/// be more. Without it libjpeg waits for more data, and Pillow gives up.
fn cut_off(bytes: &[u8]) -> Option<usize> {
    let mut at = 2;
    let mut channels = 0;
    let mut several = false;
    loop {
        let start = at;
        // Bytes before a marker are skipped, and so are fill bytes (0xff).
        let rest = bytes.get(at..).unwrap_or(&[]);
        let skipped = rest
            .windows(2)
            .position(|pair| pair[0] == 0xff && pair[1] != 0xff);
        let Some(marker) = skipped.and_then(|skipped| rest.get(skipped + 1)) else {
            return Some(start.min(bytes.len()));
        };
        at += skipped.unwrap_or(0) + 2;
        match marker {
            &END_OF_IMAGE => return None,
            0 | 0x01 | 0xd0..=0xd8 => continue,
            0xc4 | 0xc8 | 0xcc => {}
            0xc0..=0xcf => {
                channels = bytes.get(at + 7).copied().unwrap_or(0);
                several |= marker % 4 == 2;
            }
            &START_OF_SCAN => several |= bytes.get(at + 2).is_some_and(|&n| n < channels),
            _ => {}
        }
        let Some(&length) = bytes.get(at..).and_then(<[u8]>::first_chunk) else {
            return Some(start);
        };
        at += usize::from(u16::from_be_bytes(length));
        if at > bytes.len() {
            return Some(start);
        }
        if *marker == START_OF_SCAN {
            let pairs = bytes[at..].windows(2);
            let ends = |pair: &[u8]| pair[0] == 0xff && !matches!(pair[1], 0 | 0xd0..=0xd7 | 0xff);
            match pairs.into_iter().position(ends) {
                None => return Some(bytes.len()),
                Some(_) if !several => return None,
                Some(length) => at += length,
            }
        }
    }
}
