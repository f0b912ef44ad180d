//! Files on disk are read by position, piece by piece: the same networks as from memory, and the same
//! errors where they are damaged.

mod fuzz;
mod write;

use std::io::Read;
use std::path::{Path, PathBuf};

use fuzz::Fuzz;
use resnet_formats::weights::Weights;
use resnet_wgpu::Error;
use resnet_wgpu::network::{ModelOptions, Network};
use write::{bytes, floats, int, model, model_of, node, text};

/// What was read, or why not. The path is in some of the texts.
fn outcome(result: Result<Network, Error>, path: &Path) -> Result<Vec<(String, Vec<f32>)>, String> {
    let network = result.map_err(|error| {
        error
            .to_string()
            .replace(&path.display().to_string(), "PATH")
    })?;
    let tensors = network.tensors().iter();
    let tensors = tensors.map(|(name, tensor)| (name.clone(), tensor.data().to_vec()));
    let mut tensors: Vec<_> = tensors.collect();
    tensors.sort_by(|(a, _), (b, _)| a.cmp(b));
    Ok(tensors)
}

/// Compares the two ways of reading, and returns why there is no network.
#[track_caller]
fn assert_same(name: &str, file: &[u8], what: &str) -> Result<(), String> {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join(name);
    std::fs::write(&path, file).expect("written");
    let mut options = ModelOptions::default();
    options.size = Some([32, 40]);
    let on_disk = outcome(resnet_formats::open(&path, &options), &path);
    let shown = path.display().to_string();
    let in_memory = outcome(resnet_formats::from_bytes(&shown, file, &options), &path);
    assert_eq!(on_disk, in_memory, "{name}, {what}");
    on_disk.map(drop)
}

/// The whole file, and the file cut off in several places.
#[track_caller]
fn assert_same_however_long(name: &str, file: &[u8]) {
    assert_eq!(assert_same(name, file, "whole"), Ok(()), "{name} is read");
    for percent in [1, 10, 50, 90, 99] {
        let length = file.len() * percent / 100;
        let read = assert_same(name, &file[..length], &format!("{percent} %"));
        assert!(read.is_err(), "{name}: {percent} % of it are no network");
    }
}

fn fixture(name: &str) -> (String, Vec<u8>) {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/data");
    let file = std::fs::read(root.join(name)).expect("a fixture");
    let name = name.rsplit('/').next().unwrap_or(name);
    match name.strip_suffix(".gz") {
        None => (name.to_owned(), file),
        Some(name) => {
            let mut unpacked = Vec::new();
            let mut decoder = flate2::read::GzDecoder::new(&file[..]);
            decoder.read_to_end(&mut unpacked).expect("packed");
            (name.to_owned(), unpacked)
        }
    }
}

#[test]
fn what_frameworks_wrote() {
    for name in [
        "torch/zip.pth",
        "torch/legacy.pth",
        "keras/k2.h5.gz",
        "keras/k2-gzip.h5.gz",
        "keras/k2.keras.gz",
    ] {
        let (name, file) = fixture(name);
        assert_same_however_long(&name, &file);
    }
}

/// Numbers from which none can be missing.
fn numbers(count: usize) -> Vec<f32> {
    (0u16..)
        .cycle()
        .take(count)
        .map(|i| f32::from(i) * 1e-5)
        .collect()
}

/// Two convolutions whose kernels are too large to be copied: one among the initializers, one in a node
/// of its own, where it is the only field that is left out.
fn large_onnx() -> Vec<u8> {
    let data: Vec<u8> = numbers(64 * 64 * 9)
        .iter()
        .flat_map(|x| x.to_le_bytes())
        .collect();
    let dims: Vec<u8> = [64, 64, 3, 3].iter().flat_map(|&d| int(1, d)).collect();
    let tensor = [dims, int(2, 1), bytes(9, data), bytes(8, "inner")].concat();
    let value = [bytes(1, "value"), bytes(5, tensor), int(20, 4)].concat();
    let parts = [
        node("Constant", &[], "v", &[value]),
        node("Conv", &["x", "w"], "c", &[]),
        node("Conv", &["c", "v"], "d", &[text("auto_pad", "SAME_UPPER")]),
        node("GlobalAveragePool", &["d"], "p", &[]),
        node("Flatten", &["p"], "y", &[]),
        floats("w", &[64, 3, 16, 16], &numbers(64 * 3 * 256)),
        bytes(12, bytes(1, "y")),
    ];
    model_of(13, "", &[1, 3, 32, 40], &parts.concat())
}

#[test]
fn large_tensors_stay_in_the_file_of_an_onnx_network() {
    let file = large_onnx();
    assert_same_however_long("large.onnx", &file);
    // A field that a network on disk gets for a large tensor means nothing in one in memory.
    let place = [0u64, 48].map(u64::to_le_bytes).concat();
    let dims: Vec<u8> = [4, 3, 1, 1].iter().flat_map(|&d| int(1, d)).collect();
    let forged = [dims, int(2, 1), bytes(8, "w"), bytes((1 << 29) - 1, place)].concat();
    let file = model(&[node("Conv", &["x", "w"], "y", &[]), bytes(5, forged)]);
    let error = resnet_formats::from_bytes("forged", file, &ModelOptions::default());
    let error = error.expect_err("there is no file").to_string();
    assert!(error.contains("its numbers are missing"), "{error}");
}

#[test]
fn spoilt_files_are_read_alike_or_refused_alike() {
    let mut files: Vec<(String, Vec<u8>)> =
        ["torch/zip.pth", "torch/legacy.pth", "keras/k2.keras.gz"]
            .into_iter()
            .map(fixture)
            .collect();
    files.push(("large.onnx".to_owned(), large_onnx()));
    let tokens = b"PK\x01\x02\x05\x06\x07\x08\x0a\x12\x2a\x32\x3a\x4a\x80\xff";
    let mut fuzz = Fuzz::new(200);
    while fuzz.next_round() {
        let number = fuzz.below(files.len());
        let (name, file) = &files[number];
        let _ = assert_same(name, &fuzz.spoil(file, tokens), "spoilt");
    }
}

#[test]
fn a_checkpoint_that_shrinks_is_an_error() {
    let (name, file) = fixture("torch/zip.pth");
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join(name);
    std::fs::write(&path, &file).expect("written");
    let mut weights = Weights::open(&path).expect("opened");
    std::fs::write(&path, &file[..file.len() / 8]).expect("cut off");
    let error = weights.network(&ModelOptions::default());
    let error = error.expect_err("cut off").to_string();
    assert!(
        error.contains("became shorter while it was read"),
        "{error}"
    );
}
