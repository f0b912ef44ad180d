//! Images are resized and cropped to the same pixels as Pillow's.

use resnet_wgpu::picture::{Batch, Picture};
use resnet_wgpu::picture::{Filter, Preprocess, Resize};
use serde::Deserialize;

/// The output of `scripts/pillow_fixture.py`.
#[derive(Deserialize)]
struct Fixture {
    resizes: Vec<ResizeCase>,
    crops: Vec<CropCase>,
    modes: Vec<ModeCase>,
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
        let mut rules = Preprocess::TORCHVISION;
        rules.size = case.size;
        rules.resize = match case.mode.as_str() {
            "squash" => Resize::SquashTo(scaled),
            "border" => Resize::Contain(scaled),
            _ => Resize::Cover(scaled),
        };
        rules.filter = case.filter;
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
