//! Image files become upright RGB, byte for byte as Pillow reads them, or are refused.

use resnet_wgpu::Error;
use resnet_wgpu::picture::{Batch, ChannelOrder, Picture, Preprocess, Reader, Resize};
use serde::Deserialize;

/// The output of `scripts/make_picture_fixtures.py`.
#[derive(Deserialize)]
struct Fixtures {
    whole: Vec<Whole>,
    truncated: Vec<Truncated>,
}

/// A file, and the pixels that Pillow reads from it.
#[derive(Deserialize)]
struct Whole {
    name: String,
    file: String,
    #[serde(flatten)]
    pixels: Pixels,
}

/// A truncated copy of one of the files, and what Pillow reads from it when told to accept it.
#[derive(Deserialize)]
struct Truncated {
    name: String,
    length: usize,
    #[serde(flatten)]
    pixels: Pixels,
}

#[derive(Debug, Deserialize, PartialEq)]
struct Pixels {
    size: [usize; 2],
    fnv: String,
}

impl From<Picture> for Pixels {
    fn from(picture: Picture) -> Self {
        let hash = picture
            .rgb()
            .iter()
            .fold(0xcbf2_9ce4_8422_2325u64, |hash, &byte| {
                (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
            });
        Self {
            size: picture.size(),
            fnv: format!("{hash:016x}"),
        }
    }
}

fn fixtures() -> Fixtures {
    serde_json::from_str(include_str!("data/pictures.json")).expect("valid fixtures")
}

/// The bytes of one of the files.
fn file(name: &str) -> Vec<u8> {
    let all = fixtures().whole;
    let found = all.iter().find(|case| case.name == name);
    unpacked(&found.expect("a fixture of this name").file)
}

fn unpacked(base64: &str) -> Vec<u8> {
    const DIGITS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let digits: Vec<usize> = base64
        .bytes()
        .filter_map(|byte| DIGITS.iter().position(|&digit| digit == byte))
        .collect();
    let bytes = digits.chunks(4).flat_map(|four| {
        let bits = (0..4).fold(0, |bits, i| bits << 6 | four.get(i).unwrap_or(&0));
        let [.., a, b, c] = bits.to_be_bytes();
        [a, b, c].into_iter().take(four.len() - 1)
    });
    bytes.collect()
}

fn decode(bytes: &[u8]) -> Result<Picture, Error> {
    Reader::default().decode("test", bytes)
}

/// The reason why bytes are refused.
fn refusal(bytes: &[u8]) -> String {
    match decode(bytes) {
        Err(error @ Error::Image { .. }) => error.to_string(),
        other => panic!("not refused: {other:?}"),
    }
}

#[test]
fn every_kind_of_file_has_the_pixels_of_pillow() {
    for case in fixtures().whole {
        let picture = decode(&unpacked(&case.file));
        let picture = picture.unwrap_or_else(|error| panic!("{}: {error}", case.name));
        assert_eq!(Pixels::from(picture), case.pixels, "{}", case.name);
    }
}

#[test]
fn what_is_cut_off_is_refused_unless_it_is_asked_for() {
    for case in fixtures().truncated {
        let what = format!("{} bytes of {}", case.length, case.name);
        let bytes = &file(&case.name)[..case.length];
        let refused = decode(bytes).expect_err(&what);
        assert!(refused.to_string().contains("cut off"), "{what}: {refused}");
        let mut reader = Reader::default();
        reader.truncated = true;
        let rest = reader.decode("test", bytes);
        assert_eq!(Pixels::from(rest.expect(&what)), case.pixels, "{what}");
    }
}

#[test]
fn no_part_of_a_file_is_taken_for_all_of_it() {
    for name in [
        "JPEG",
        "progressive JPEG",
        "arithmetic JPEG",
        "MPO",
        "PNG",
        "WebP",
        "GIF",
        "TIFF",
    ] {
        let whole = file(name);
        // Further on, missing data need not matter: the end of the image, or another image.
        let enough = whole.len() / 3;
        for length in 0..enough {
            refusal(&whole[..length]);
        }
    }
}

#[test]
fn pictures_are_left_as_they_lie_if_they_are_not_wanted_upright() {
    let plain = file("JPEG");
    for name in [
        "JPEG turned by EXIF",
        "JPEG mirrored by EXIF",
        "JPEG turned by XMP",
    ] {
        let mut reader = Reader::default();
        reader.upright = false;
        let lying = reader.decode(name, &file(name)).expect(name);
        assert_eq!(lying, decode(&plain).expect("decoded"), "{name}");
    }
}

#[test]
fn a_picture_is_prepared_from_its_file_as_from_its_pixels() {
    for channels in [ChannelOrder::Rgb, ChannelOrder::Grey] {
        let mut rules = Preprocess::NOTEBOOK;
        rules.size = [7, 11];
        rules.channels = channels;
        for case in fixtures().whole {
            let bytes = unpacked(&case.file);
            let direct = Reader::default()
                .prepare("test", &bytes, &rules)
                .expect("prepared");
            let by_pixels =
                Batch::prepare(&[decode(&bytes).expect("decoded")], &rules).expect("prepared");
            assert_eq!(
                direct.rgba(),
                by_pixels.rgba(),
                "{}, {channels:?}",
                case.name
            );
        }
    }
}

#[test]
fn jpegs_may_be_decoded_at_a_fraction_of_their_size() {
    let mut reader = Reader::default();
    reader.fast = true;
    let mut rules = Preprocess::NOTEBOOK;
    let mut reduced = 0;
    for case in fixtures().whole {
        let bytes = unpacked(&case.file);
        let whole = decode(&bytes).expect("decoded");
        // An upright part of the picture, so that what is turned would show.
        for size in [[5, 3], [16, 16]] {
            rules.size = size;
            let exact = Reader::default().prepare("test", &bytes, &rules);
            let exact = exact.expect("prepared");
            let fast = reader.prepare("test", &bytes, &rules).expect("prepared");
            assert_eq!(fast.shape(), exact.shape(), "{}", case.name);
            let is_large = whole.size()[0] / 2 >= size[0] && whole.size()[1] / 2 >= size[1];
            let pairs = fast.rgba().iter().zip(exact.rgba());
            let difference = pairs.map(|(&x, &y)| u32::from(x.abs_diff(y)));
            let mean = difference.sum::<u32>() as f32 / exact.rgba().len() as f32;
            assert!(mean < 24.0, "{} at {size:?}: {mean}", case.name);
            if mean > 0.0 {
                assert!(is_large, "{} at {size:?} lacks pixels", case.name);
                assert!(bytes.starts_with(&[0xff, 0xd8]), "{} is no JPEG", case.name);
                reduced += 1;
            }
        }
        assert_eq!(
            reader.decode("test", &bytes).expect("decoded"),
            whole,
            "{}: for no network",
            case.name
        );
    }
    assert!(reduced >= 10, "{reduced} were reduced");
}

#[test]
fn batches_are_joined_and_filled_up() {
    let mut rules = Preprocess::NOTEBOOK;
    rules.size = [2, 2];
    let one = |name| {
        Reader::default()
            .prepare(name, &file(name), &rules)
            .expect(name)
    };
    let [first, second] = [one("JPEG"), one("PNG")];
    let joined = Batch::join(&[first.clone(), second.clone()], 3).expect("joined");
    assert_eq!(joined.shape().n, 3);
    assert_eq!(
        joined.rgba(),
        [first.rgba(), second.rgba(), first.rgba()].concat()
    );
    Batch::join(&[first.clone(), second.clone()], 1).expect_err("more than fit");
    Batch::join(&[], 1).expect_err("none");
    let mut others = rules;
    others.size = [3, 2];
    let other = Reader::default()
        .prepare("PNG", &file("PNG"), &others)
        .expect("prepared");
    Batch::join(&[first, other], 2).expect_err("by other rules");
}

/// A NumPy file.
fn npy(kind: &str, fortran: &str, dims: &str, data: &[u8]) -> Vec<u8> {
    let text = format!("{{'descr': '{kind}', 'fortran_order': {fortran}, 'shape': ({dims}), }}\n");
    let length = u16::try_from(text.len()).expect("short").to_le_bytes();
    [&b"\x93NUMPY\x01\0"[..], &length, text.as_bytes(), data].concat()
}

#[test]
fn networks_of_other_channels_read_arrays_in_either_order() {
    let rules = Preprocess::of_arrays(2, [7, 7]);
    let read = |file: &[u8], rules: &Preprocess| Reader::default().prepare("x.npy", file, rules);
    // The channels are 0…5 and 10…15, in two rows of three.
    let first = [0, 1, 2, 3, 4, 5, 10, 11, 12, 13, 14, 15_u8];
    let fortran = [0, 10, 3, 13, 1, 11, 4, 14, 2, 12, 5, 15_u8];
    let words = |bytes: &[u8]| -> Vec<u8> {
        let floats = bytes.iter().map(|&byte| f32::from(byte));
        floats.flat_map(f32::to_le_bytes).collect()
    };
    let doubles: Vec<u8> = first
        .iter()
        .flat_map(|&x| f64::from(x).to_le_bytes())
        .collect();
    let expected: Vec<f32> = first.iter().map(|&byte| f32::from(byte)).collect();
    for (file, divisor) in [
        (npy("<f4", "False", "2, 2, 3", &words(&first)), 1.0),
        (npy("<f4", "False", "1, 2, 2, 3", &words(&first)), 1.0),
        (npy("<f4", "True", "2, 2, 3", &words(&fortran)), 1.0),
        (npy("<f8", "False", "2, 2, 3", &doubles), 1.0),
        (npy("|u1", "False", "2, 2, 3", &first), 255.0),
    ] {
        let batch = read(&file, &rules).expect("an array");
        let tensor = batch.tensor();
        assert_eq!(tensor.dims(), [1, 2, 2, 3], "channels first");
        for (got, want) in tensor.data().iter().zip(&expected) {
            assert!((got - want / divisor).abs() < 1e-6, "{got} for {want}");
        }
    }
    let last = [0, 10, 1, 11, 2, 12, 3, 13, 4, 14, 5, 15];
    let last = npy("|u1", "False", "3, 2, 2", &last);
    let tensor = read(&last, &rules).expect("channels last").tensor();
    assert_eq!(tensor.dims(), [1, 2, 3, 2], "channels last");
    assert_eq!(tensor.data()[..2], [0.0, 1.0 / 255.0]);
    let joined = [&last[..], &last].map(|file| read(file, &rules).expect("an array"));
    let joined = Batch::join(&joined, 3).expect("of one size").tensor();
    assert_eq!(joined.data()[..12], joined.data()[24..], "filled up");

    let whole = npy("<f4", "False", "2, 2, 3", &words(&first));
    let mut nan = words(&first);
    nan[..4].copy_from_slice(&f32::NAN.to_le_bytes());
    let mut fixed = rules;
    fixed.resize = Resize::Squash;
    for (file, rules, words) in [
        (&whole[..whole.len() - 1], &rules, "cut off"),
        (
            &[&whole[..], b"more"].concat(),
            &rules,
            "more than one array",
        ),
        (&whole, &fixed, "not of 7x7"),
        (&whole, &Preprocess::of_arrays(5, [7, 7]), "5×H×W"),
        (&whole, &Preprocess::NOTEBOOK, "a NumPy array"),
        (&npy("<i8", "False", "2, 2, 3", &[0; 96]), &rules, "'<i8'"),
        (&npy("<f4", "False", "2, 0, 3", &[]), &rules, "[2, 0, 3]"),
        (&npy("<f4", "False", "2, 2, 3", &nan), &rules, "NaN"),
        (&file("PNG"), &rules, "no NumPy file"),
    ] {
        let error = read(file, rules).expect_err(words).to_string();
        assert!(error.contains(words), "{words}: {error}");
    }
    let picture = decode(&file("PNG")).expect("decoded");
    Batch::prepare(&[picture], &rules).expect_err("a picture is no array");
}

/// A copy of a file with some bytes replaced.
fn with(name: &str, at: usize, bytes: &[u8]) -> Vec<u8> {
    let mut file = file(name);
    file[at..at + bytes.len()].copy_from_slice(bytes);
    file
}

/// A PNG that claims to have 60,000 × 60,000 pixels.
fn large_png(name: &str) -> Vec<u8> {
    let mut file = with(name, 16, &[0, 0, 0xea, 0x60, 0, 0, 0xea, 0x60]);
    let checksum = file[12..29].iter().fold(u32::MAX, |sum, &byte| {
        (0..8).fold(sum ^ u32::from(byte), |sum, _| {
            (sum >> 1) ^ (0xedb8_8320 * (sum & 1))
        })
    });
    file[29..33].copy_from_slice(&(!checksum).to_be_bytes());
    file
}

fn place(name: &str, part: &[u8]) -> usize {
    let file = file(name);
    let found = file.windows(part.len()).position(|window| window == part);
    found.expect("such bytes") + part.len()
}

#[test]
fn sizes_that_do_not_fit_the_memory_are_refused_by_the_head_of_the_file() {
    let frame = place("JPEG", b"\xff\xc0\0\x11\x08");
    let canvas = place("animated WebP", b"VP8X") + 8;
    for (what, bytes) in [
        ("JPEG", with("JPEG", frame, &[0xff, 0x00, 0xff, 0x00])),
        ("PNG", large_png("interlaced PNG")),
        ("PNG in order", large_png("PNG")),
        ("GIF", with("GIF", 6, &[0xff; 4])),
        (
            "BMP",
            with("BMP", 18, &[0x60, 0xea, 0, 0, 0x60, 0xea, 0, 0]),
        ),
        ("TGA", with("TGA", 12, &[0xff; 4])),
        ("PNM", b"P6 60000 60000 255\n".to_vec()),
        (
            "WebP",
            with("animated WebP", canvas, &[0xff, 0x3f, 0, 0xff, 0x3f, 0]),
        ),
    ] {
        let reason = refusal(&bytes);
        assert!(reason.contains("pixels are too many"), "{what}: {reason}");
    }
}

#[test]
fn what_is_no_picture_is_refused_by_its_name() {
    for (bytes, words) in [
        (&b""[..], "empty"),
        (b"hello", "neither JPEG, PNG"),
        (b"\0\0\0\x20ftypavif\0\0\0\0", "AVIF"),
        (b"\0\0\0\x18ftypheic\0\0\0\0", "HEIC"),
        (b"\0\0\0\x0cJXL \r\n\x87\n", "JPEG XL"),
        (
            b"version https://git-lfs.github.com/spec/v1\n",
            "git lfs pull",
        ),
        (b"<!DOCTYPE html><title>404</title>", "web page"),
        (b"\0\0\x01\0\x01\0", "icon"),
    ] {
        let reason = refusal(bytes);
        assert!(reason.contains(words), "{words}: {reason}");
    }
    // A WebP whose second chunk claims to be four gigabytes long.
    let mut long = [&file("animated WebP")[..], b"EXIF\xff\xff\xff\xff"].concat();
    let size = u32::try_from(long.len() - 8).expect("small");
    long[4..8].copy_from_slice(&size.to_le_bytes());
    assert!(
        refusal(&long).contains("cut off"),
        "a chunk that is not there"
    );
    let unusual = place("JPEG", b"\xff\xc0\0\x11\x08") + 5;
    let reason = refusal(&with("JPEG", unusual, &[1, 0x11, 0, 2, 0x22, 1, 3, 0x22]));
    assert!(
        reason.contains("unusual"),
        "more samples of colour than of light: {reason}"
    );
    assert!(
        matches!(Picture::open("/no/such/file.jpg"), Err(Error::Io { .. })),
        "missing"
    );
    assert!(
        matches!(Picture::open("/dev/zero"), Err(Error::Io { .. })),
        "without end"
    );
}
