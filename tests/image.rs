//! Images: the same pixels as Pillow's, and every kind of file upright in RGB.

use std::collections::BTreeMap;
use std::io::Cursor;

use image::{DynamicImage, ImageFormat};
use resnet_wgpu::Error;
use resnet_wgpu::picture::{Batch, Picture};
use resnet_wgpu::picture::{Filter, Preprocess, Resize};
use serde::Deserialize;

/// The output of `scripts/pillow_fixture.py`.
#[derive(Deserialize)]
struct Fixture {
    resizes: Vec<ResizeCase>,
    crops: Vec<CropCase>,
    modes: Vec<ModeCase>,
    exact: BTreeMap<String, Encoded>,
    close: BTreeMap<String, Encoded>,
}

#[derive(Deserialize)]
struct ResizeCase {
    from: [usize; 2],
    to: [usize; 2],
    filter: Filter,
    first: Vec<u8>,
    fnv: String,
}

#[derive(Deserialize)]
struct CropCase {
    from: [usize; 2],
    rules: String,
    fnv: String,
}

/// One of timm's crop modes.
#[derive(Deserialize)]
struct ModeCase {
    from: [usize; 2],
    mode: String,
    filter: Filter,
    size: [usize; 2],
    crop_pct: f64,
    fnv: String,
}

/// A file, and the pixels that Pillow reads from it.
#[derive(Deserialize)]
struct Encoded {
    file: String,
    size: [usize; 2],
    rgb: String,
}

fn fixture() -> Fixture {
    serde_json::from_str(include_str!("data/pillow.json")).expect("a valid fixture")
}

/// The image that the script gives to Pillow.
fn noise([h, w]: [usize; 2]) -> Picture {
    let mut state = 1u32;
    let bytes = (0..h * w * 3).map(|_| {
        state = state.wrapping_mul(1_103_515_245).wrapping_add(12_345) & 0x7fff_ffff;
        (state >> 16).to_le_bytes()[0]
    });
    Picture::new(h, w, bytes.collect()).expect("filled")
}

fn fnv(bytes: impl IntoIterator<Item = u8>) -> String {
    let hash = bytes
        .into_iter()
        .fold(0xcbf2_9ce4_8422_2325u64, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        });
    format!("{hash:016x}")
}

#[test]
fn resizing_is_pillows_to_the_bit() {
    for case in fixture().resizes {
        let resized = noise(case.from).resized(case.to, case.filter);
        let what = format!("{:?} to {:?}, {:?}", case.from, case.to, case.filter);
        let start = &resized.rgb()[..case.first.len().min(resized.rgb().len())];
        assert_eq!(start, &case.first[..start.len()], "{what}");
        assert_eq!(fnv(resized.rgb().iter().copied()), case.fnv, "{what}");
    }
}

#[test]
fn evaluation_crops_are_those_of_the_python_libraries() {
    for case in fixture().crops {
        let rules = Preprocess::named(&case.rules).expect("a known name");
        let batch = Batch::prepare(&[noise(case.from)], &rules).expect("prepared");
        let rgb = batch.rgba().chunks(4).flat_map(|p| p[..3].to_vec());
        assert_eq!(fnv(rgb), case.fnv, "{} of {:?}", case.rules, case.from);
    }
}

#[test]
fn timms_crop_modes_are_followed() {
    for case in fixture().modes {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "rounding down is what timm does"
        )]
        let scaled = case.size.map(|side| (side as f64 / case.crop_pct) as usize);
        let rules = Preprocess {
            size: case.size,
            resize: match case.mode.as_str() {
                "squash" => Resize::SquashTo(scaled),
                "border" => Resize::Contain(scaled),
                _ => Resize::Cover(scaled),
            },
            filter: case.filter,
            ..Preprocess::TORCHVISION
        };
        let batch = Batch::prepare(&[noise(case.from)], &rules).expect("prepared");
        let rgb = batch.rgba().chunks(4).flat_map(|p| p[..3].to_vec());
        assert_eq!(
            fnv(rgb),
            case.fnv,
            "{} of {:?} to {:?}",
            case.mode,
            case.from,
            case.size
        );
    }
}

// === Decoding ===

fn bytes_of(hex: &str) -> Vec<u8> {
    let digits = hex.as_bytes().as_chunks::<2>().0;
    let byte = |pair: &[u8; 2]| {
        let text = str::from_utf8(pair).expect("ASCII");
        u8::from_str_radix(text, 16).expect("hexadecimal")
    };
    digits.iter().map(byte).collect()
}

/// The largest and the mean difference from Pillow's pixels.
fn difference(what: &str, case: &Encoded) -> (u8, f64) {
    let picture = decode(&bytes_of(&case.file));
    assert_eq!([picture.height(), picture.width()], case.size, "{what}");
    let expected = bytes_of(&case.rgb);
    let pairs = picture.rgb().iter().zip(&expected);
    let differences: Vec<u8> = pairs.map(|(a, b)| a.abs_diff(*b)).collect();
    let sum: f64 = differences.iter().map(|&d| f64::from(d)).sum();
    let largest = differences.iter().max().expect("pixels");
    (*largest, sum / differences.len() as f64)
}

#[test]
fn files_without_loss_have_the_pixels_of_pillow() {
    for (what, case) in fixture().exact {
        assert_eq!(difference(&what, &case).0, 0, "{what}");
    }
}

#[test]
fn jpegs_are_close_to_pillows() {
    // Decoders may differ in rounding and in how they interpolate subsampled colours.
    for (what, case) in fixture().close {
        let (largest, mean) = difference(&what, &case);
        assert!(largest <= 8 && mean < 1.0, "{what}: {largest}, {mean}");
    }
}

fn encode(image: &DynamicImage, format: ImageFormat) -> Vec<u8> {
    let mut bytes = Cursor::new(Vec::new());
    image.write_to(&mut bytes, format).expect("encoded");
    bytes.into_inner()
}

fn decode(bytes: &[u8]) -> Picture {
    Picture::decode("test", bytes).expect("decoded")
}

#[test]
fn every_kind_of_pixel_becomes_rgb() {
    let rgb = image::RgbImage::from_fn(3, 2, |x, y| {
        image::Rgb([x, y, 7].map(|v| u8::try_from(v * 80).unwrap_or(255)))
    });
    let expected = Picture::new(2, 3, rgb.as_raw().clone()).expect("filled");
    let rgb = DynamicImage::from(rgb);
    // Transparent pixels keep their colour: alpha is dropped, not blended.
    let mut rgba = rgb.to_rgba8();
    rgba.pixels_mut().for_each(|pixel| pixel[3] = pixel[0] / 2);
    for image in [
        rgb.clone(),
        DynamicImage::from(rgba),
        DynamicImage::from(rgb.to_rgb16()),
        DynamicImage::from(rgb.to_rgba16()),
    ] {
        let kind = image.color();
        assert_eq!(
            decode(&encode(&image, ImageFormat::Png)),
            expected,
            "{kind:?}"
        );
    }
    let lossless = encode(&rgb, ImageFormat::WebP);
    assert_eq!(decode(&lossless), expected, "WebP");

    let grey = DynamicImage::from(rgb.to_luma8());
    let grey = decode(&encode(&grey, ImageFormat::Png));
    let equal = |pixel: &[u8]| pixel[0] == pixel[1] && pixel[1] == pixel[2];
    assert!(grey.rgb().chunks(3).all(equal), "grey: {:?}", grey.rgb());
}

#[test]
fn a_jpeg_is_turned_as_its_exif_says() {
    // Left half dark, right half bright.
    let image =
        image::RgbImage::from_fn(32, 16, |x, _| image::Rgb([if x < 16 { 0 } else { 255 }; 3]));
    let jpeg = encode(&DynamicImage::from(image), ImageFormat::Jpeg);
    let with_orientation = |orientation: u8| {
        // A big-endian TIFF with one tag, 0x0112, of one SHORT.
        let mut exif = b"Exif\0\0MM\0\x2a\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0".to_vec();
        exif.extend([orientation, 0, 0, 0, 0, 0, 0]);
        let length = u16::try_from(exif.len() + 2).expect("short").to_be_bytes();
        [&jpeg[..2], &[0xff, 0xe1], &length, &exif, &jpeg[2..]].concat()
    };
    let size = |picture: &Picture| [picture.height(), picture.width()];
    let at = |picture: &Picture, y, x| picture.rgb()[(y * picture.width() + x) * 3];

    let plain = decode(&with_orientation(1));
    assert_eq!(size(&plain), [16, 32], "upright");
    assert!(at(&plain, 8, 4) < 30 && at(&plain, 8, 28) > 225, "upright");
    let half_turn = decode(&with_orientation(3));
    assert!(at(&half_turn, 8, 4) > 225, "the right half is on the left");
    // 6: the camera was turned, so rows become columns and the left side moves to the top.
    let quarter_turn = decode(&with_orientation(6));
    assert_eq!(size(&quarter_turn), [32, 16], "sides change places");
    assert!(
        at(&quarter_turn, 4, 8) < 30 && at(&quarter_turn, 28, 8) > 225,
        "left is above"
    );
}

#[test]
fn what_is_no_image_is_an_error() {
    let jpeg = encode(&DynamicImage::new_rgb8(64, 64), ImageFormat::Jpeg);
    let png = encode(&DynamicImage::new_rgb8(64, 64), ImageFormat::Png);
    // A PNG header that promises 60,000 × 60,000 pixels.
    let mut bomb = png.clone();
    bomb[16..24].copy_from_slice(&[0, 0, 0xea, 0x60, 0, 0, 0xea, 0x60]);
    for (what, bytes) in [
        ("nothing", &b""[..]),
        ("text", b"hello"),
        ("the start of a JPEG", &jpeg[..20]),
        ("the start of a PNG", &png[..40]),
        ("a bomb", &bomb),
        ("GIF", b"GIF89a......................"),
    ] {
        let result = Picture::decode("test", bytes);
        assert!(
            matches!(result, Err(Error::Image { .. })),
            "{what}: {result:?}"
        );
    }
    assert!(
        matches!(Picture::open("/no/such/file.jpg"), Err(Error::Io { .. })),
        "missing"
    );
}
