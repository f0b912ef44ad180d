//! PyTorch checkpoints: everything it saved is read to the last number, and no file can do harm.
//!
//! `scripts/make_torch_fixtures.py` describes and writes the files.

mod fuzz;

use fuzz::Fuzz;
use resnet_formats::weights::Weights;
use resnet_wgpu::Error;
use resnet_wgpu::internals::network::{Family, TensorSource};
use resnet_wgpu::network::{Confidence, Model, ModelOptions};
use resnet_wgpu::picture::{Filter, Labels, Preprocess, Resize};

macro_rules! fixture {
    ($name:literal) => {
        include_bytes!(concat!("data/torch/", $name)).as_slice()
    };
}

const ZIP: &[u8] = fixture!("zip.pth");
const LEGACY: &[u8] = fixture!("legacy.pth");
const TRAINING: &[u8] = fixture!("training.pth");
const TRAINING_LEGACY: &[u8] = fixture!("training-legacy.pth");
const CROWDED: &[u8] = fixture!("crowded.pth");
const CROWDED_LEGACY: &[u8] = fixture!("crowded-legacy.pth");

fn open(bytes: &[u8]) -> Result<Weights, Error> {
    Weights::from_bytes("test.pth", bytes)
}

fn build(bytes: &[u8]) -> Result<Model, Error> {
    let mut options = ModelOptions::default();
    options.size = Some([32, 40]);
    open(bytes)?.network(&options)?.model(&options)
}

fn refused(bytes: &[u8]) -> String {
    open(bytes).expect_err("refused").to_string()
}

/// The expected element `index` of the tensor `name` in a fixture.
fn expected(name: &str, index: usize) -> f32 {
    let first: usize = name.bytes().map(usize::from).sum();
    ((first + 5 * index) % 64 + 1) as f32 / 32.0
}

// === What PyTorch saves ===

#[test]
fn both_formats_give_every_number_in_any_order_of_memory_and_any_type() {
    for (what, bytes) in [
        ("zip", ZIP),
        ("legacy", LEGACY),
        ("training", TRAINING),
        ("legacy training", TRAINING_LEGACY),
    ] {
        let model = build(bytes).unwrap_or_else(|error| panic!("{what}: {error}"));
        assert_eq!(model.graph.params().len(), 62, "{what}: parameters");
        for param in model.graph.params() {
            for (index, &value) in param.tensor.data().iter().enumerate() {
                let name = &param.name;
                assert_eq!(value, expected(name, index), "{what}: {name}[{index}]");
            }
        }
    }
}

#[test]
fn objects_beside_the_weights_are_skipped_and_their_average_is_chosen_by_its_entry() {
    for bytes in [CROWDED, CROWDED_LEGACY] {
        for (entry, factor) in [(None, 1.0), (Some("state_dict_ema"), 2.0)] {
            let mut options = ModelOptions::default();
            options.size = Some([32, 40]);
            options.entry = entry.map(str::to_owned);
            let network = resnet_formats::from_bytes("test.pth", bytes, &options);
            let network = network.expect("opened");
            let facts = &network.facts;
            for (name, tensor) in network.tensors() {
                for (index, &value) in tensor.data().iter().enumerate() {
                    assert_eq!(value, factor * expected(name, index), "{name}[{index}]");
                }
            }
            // Leaving the averaged weights out is reported as an assumption, unless asked for.
            let guess = facts.decisions.get("entry");
            assert_eq!(guess.is_some(), entry.is_none(), "{entry:?}");
            let blur = facts.decisions.get("anti-aliasing").expect("args.model");
            assert!(blur.evidence.contains("args.model"), "{blur}");
            assert_eq!(
                facts.labels,
                Some(Labels::new(["cat", "dog"])),
                "class_to_idx"
            );
        }
    }
    let mut asked = ModelOptions::default();
    asked.entry = Some("state_dict_of_another".to_owned());
    let error = resnet_formats::from_bytes("test.pth", CROWDED, &asked).expect_err("refused");
    assert!(error.to_string().contains("'state_dict_ema'"), "{error}");
}

#[test]
fn arguments_of_training_scripts_say_how_images_are_prepared() {
    let mut timm = Preprocess::TORCHVISION;
    timm.size = [45, 45];
    timm.resize = Resize::Cover([50, 50]);
    timm.mean = [0.5, 0.5, 0.25];
    timm.std = [0.25; 3];
    let mut references = Preprocess::TORCHVISION;
    references.size = [36, 36];
    references.resize = Resize::Cover([40, 40]);
    references.filter = Filter::Bicubic;
    for (bytes, rules, said) in [
        (TRAINING, timm, "timm's script"),
        (TRAINING_LEGACY, timm, "timm's script"),
        (CROWDED, references, "torchvision's script"),
        (CROWDED_LEGACY, references, "torchvision's script"),
    ] {
        let network = resnet_formats::from_bytes("test.pth", bytes, &ModelOptions::default());
        let facts = network.expect("opened").facts;
        assert_eq!(facts.preprocess, rules, "{said}");
        let decision = facts.decisions.get("preprocessing").expect("decided");
        assert!(decision.evidence.contains(said), "{decision}");
        assert_eq!(decision.confidence, Confidence::Certain, "{decision}");
        // What is asked for goes before.
        let mut asked = ModelOptions::default();
        asked.preprocess = Some(Preprocess::CIFAR);
        let network = resnet_formats::from_bytes("test.pth", bytes, &asked).expect("opened");
        assert_eq!(network.facts.preprocess, Preprocess::CIFAR, "asked for");
    }
}

#[test]
fn the_format_names_the_dict_that_was_taken() {
    for (bytes, format) in [
        (ZIP, "PyTorch checkpoint"),
        (LEGACY, "PyTorch checkpoint of the old format"),
        (TRAINING, "PyTorch checkpoint, entry 'state_dict'"),
    ] {
        let weights = open(bytes).expect("opened");
        assert_eq!(weights.format(), (format), "format");
        assert_eq!(weights.family(), Family::Torchvision, "family");
    }
}

#[test]
fn a_checkpoint_on_disk_is_mapped_and_shards_may_be_checkpoints() {
    let folder = tempfile::tempdir().expect("a folder");
    let shard = folder.path().join("pytorch_model-00001-of-00001.bin");
    std::fs::write(&shard, ZIP).expect("written");
    let weights = Weights::open(&shard).expect("opened");
    assert_eq!(weights.unused().count(), 62, "without counters");

    let names = weights.unused();
    let counters = names.filter_map(|name| name.strip_suffix("running_mean"));
    let counters = counters.map(|layer| format!("{layer}num_batches_tracked"));
    let all: serde_json::Map<_, _> = weights
        .unused()
        .map(str::to_owned)
        .chain(counters)
        .map(|name| (name, "pytorch_model-00001-of-00001.bin".into()))
        .collect();
    let index = folder.path().join("pytorch_model.bin.index.json");
    let text = serde_json::json!({ "weight_map": all }).to_string();
    std::fs::write(&index, text).expect("written");
    let weights = Weights::open(&index).expect("opened");
    assert_eq!(weights.format(), ("1 shards of PyTorch checkpoint"));
}

#[test]
fn what_is_no_state_dict_is_diagnosed() {
    for (bytes, expected) in [
        (fixture!("script.pt"), "TorchScript"),
        (fixture!("module.pth"), "torch.nn.modules.linear.Linear"),
        (fixture!("tensor.pth"), "a single tensor"),
        (&archive(&[("a/x.npy", b"")]), "NumPy"),
        (&archive(&[("model.weights.h5", b"")]), "Keras 3"),
        (&archive(&[("readme.txt", b"")]), "readme.txt"),
        (&archive(&[]), "empty"),
        (
            &archive(&[("a/data.pkl", b"N."), ("b/data.pkl", b"N.")]),
            "several",
        ),
        (&archive(&[("a/data.pkl", b"}.")]), "no dict of weights"),
        (b"\x80\x02}q\x00.", "not one that `torch.save` wrote"),
        (
            b"\x80\x04\x8c\x16numpy.core.multiarrayz\x8c\x04evil\x93.",
            "numpy.core.multiarrayz.evil",
        ),
    ] {
        let message = refused(bytes);
        assert!(message.contains(expected), "{expected}: {message}");
    }
}

#[test]
fn integers_and_numbers_that_are_not_finite_are_named() {
    let tensors = Tensors {
        storages: vec![
            (
                "FloatStorage",
                [1.0f32, f32::NAN].map(f32::to_le_bytes).concat(),
            ),
            ("LongStorage", vec![0; 16]),
            (
                "DoubleStorage",
                [1e300f64, 0.0].map(f64::to_le_bytes).concat(),
            ),
        ],
        tensors: vec![
            ("fc.bias", 0, vec![2]),
            ("bn1.bias", 1, vec![2]),
            ("bn2.bias", 2, vec![2]),
            (MARK, 0, vec![1]),
        ],
    };
    let mut weights = open(&tensors.archive()).expect("opened");
    let error = weights.take("fc.bias", &[2]).expect_err("a NaN");
    assert!(
        matches!(&error, Error::WeightNotFinite { name, index: 1, .. } if name == "fc.bias"),
        "{error}"
    );
    let error = weights.take("bn1.bias", &[2]).expect_err("an i64");
    assert!(
        matches!(&error, Error::WeightType { name, got } if name == "bn1.bias" && got == "I64"),
        "{error}"
    );
    let error = weights.take("bn2.bias", &[2]).expect_err("too large");
    assert!(
        matches!(&error, Error::WeightNotFinite { name, index: 0, .. } if name == "bn2.bias"),
        "{error}"
    );
}

// === Hostile files ===

/// A name that identifies the family.
const MARK: &str = "layer1.0.conv1.weight";

/// An uncompressed zip archive as PyTorch writes it, but without checksums.
fn archive(files: &[(&str, &[u8])]) -> Vec<u8> {
    let (mut bytes, mut directory) = (Vec::new(), Vec::new());
    let u16 = |n: usize| u16::try_from(n).expect("short").to_le_bytes();
    let u32 = |n: usize| u32::try_from(n).expect("short").to_le_bytes();
    for (name, data) in files {
        let local = bytes.len();
        let sizes = [u32(0), u32(data.len()), u32(data.len())].concat();
        let lens = [u16(name.len()), u16(0)].concat();
        bytes.extend([b"PK\x03\x04", &[0; 10][..], &sizes, &lens].concat());
        bytes.extend([name.as_bytes(), data].concat());
        directory.extend([b"PK\x01\x02", &[0; 12][..], &sizes, &lens, &[0; 10]].concat());
        directory.extend([&u32(local)[..], name.as_bytes()].concat());
    }
    let (at, count) = (bytes.len(), u16(files.len()));
    bytes.extend(&directory);
    bytes.extend([b"PK\x05\x06", &[0; 4][..], &count, &count].concat());
    bytes.extend([&u32(directory.len())[..], &u32(at), &[0; 2]].concat());
    bytes
}

/// A hand-made checkpoint of row-major tensors.
struct Tensors {
    /// Type and bytes.
    storages: Vec<(&'static str, Vec<u8>)>,
    /// Name, storage index, shape.
    tensors: Vec<(&'static str, usize, Vec<u32>)>,
}

impl Tensors {
    fn pickle(&self) -> Vec<u8> {
        let text = |text: &str| {
            let len = u32::try_from(text.len()).expect("short");
            [b"X", &len.to_le_bytes()[..], text.as_bytes()].concat()
        };
        let int = |n: u32| [b"J", &n.to_le_bytes()[..]].concat();
        let mut pickle = b"\x80\x02}(".to_vec();
        for (name, number, dims) in &self.tensors {
            let (kind, bytes) = &self.storages[*number];
            let element_bytes = match *kind {
                "FloatStorage" => 4,
                _ => 8,
            };
            let len = u32::try_from(bytes.len() / element_bytes).expect("short");
            pickle.extend(text(name));
            pickle.extend(b"ctorch._utils\n_rebuild_tensor_v2\n((");
            pickle.extend(text("storage"));
            pickle.extend(format!("ctorch\n{kind}\n").bytes());
            pickle.extend([text(&number.to_string()), text("cpu"), int(len)].concat());
            pickle.extend(b"tQK\x00(");
            pickle.extend(dims.iter().flat_map(|&d| int(d)));
            pickle.extend(b"t(");
            for axis in 0..dims.len() {
                pickle.extend(int(dims[axis + 1..]
                    .iter()
                    .fold(1u32, |len, &d| len.wrapping_mul(d))));
            }
            pickle.extend(b"t\x89NtR");
        }
        pickle.extend(b"u.");
        pickle
    }

    fn archive(&self) -> Vec<u8> {
        let pickle = self.pickle();
        let names: Vec<String> = (0..self.storages.len())
            .map(|number| format!("test/data/{number}"))
            .collect();
        let mut files = vec![("test/data.pkl", &pickle[..])];
        for (name, (_, bytes)) in names.iter().zip(&self.storages) {
            files.push((name, bytes));
        }
        archive(&files)
    }
}

#[test]
fn code_in_a_pickle_is_named_and_not_run() {
    let folder = tempfile::tempdir().expect("a folder");
    let canary = folder.path().join("canary");
    let command = format!("touch {}", canary.display());
    let len = u8::try_from(command.len()).expect("short");
    for (module, name) in [
        ("os", "system"),
        ("posix", "system"),
        ("builtins", "exec"),
        ("subprocess", "Popen"),
        ("torch", "load"),
        ("torch.hub", "load"),
        ("torch.storage", "_load_from_bytes"),
        ("torch._utils", "_rebuild_tensor_v2.__globals__"),
        ("collections", "OrderedDict.__init__"),
    ] {
        let mut pickle = format!("\u{2}c{module}\n{name}\nX").into_bytes();
        pickle.insert(0, 0x80);
        pickle.extend([len, 0, 0, 0]);
        pickle.extend(command.bytes());
        pickle.extend(b"\x85R.");
        for bytes in [archive(&[("a/data.pkl", &pickle)]), pickle] {
            let error = open(&bytes).expect_err("refused");
            let full = format!("{module}.{name}");
            assert!(
                matches!(&error, Error::WeightsForbidden { global, .. } if *global == full),
                "{error}"
            );
        }
    }
    assert!(!canary.exists(), "nothing was run");
}

#[test]
fn other_byte_orders_and_compression_are_refused() {
    let swapped = |from: &[u8], to: &[u8], bytes: &[u8]| {
        let at = bytes.windows(from.len()).position(|part| part == from);
        let at = at.expect("it is there");
        [&bytes[..at], to, &bytes[at + from.len()..]].concat()
    };
    let big = swapped(b"little", b"bigbig", ZIP);
    assert!(refused(&big).contains("big-endian"), "{}", refused(&big));
    let big = swapped(
        b"little_endian\x71\x02\x88",
        b"little_endian\x71\x02\x89",
        LEGACY,
    );
    assert!(refused(&big).contains("big-endian"), "{}", refused(&big));

    let mut packed = archive(&[("a/data.pkl", b"}.")]);
    let line = packed.windows(4).position(|part| part == b"PK\x01\x02");
    packed[line.expect("a directory") + 10] = 8;
    assert!(
        refused(&packed).contains("compressed"),
        "{}",
        refused(&packed)
    );
    // The sizes of a zip bomb.
    let mut bomb = archive(&[("a/data.pkl", b"}.")]);
    let line = bomb.windows(4).position(|part| part == b"PK\x01\x02");
    let sizes = line.expect("a directory") + 20;
    bomb[sizes..sizes + 8].copy_from_slice(&[0xfe; 8]);
    assert!(
        refused(&bomb).contains("past the file"),
        "{}",
        refused(&bomb)
    );
}

#[test]
fn few_bytes_do_not_pass_for_many() {
    let names: Vec<String> = (0..100).map(|number| format!("layer.{number}")).collect();
    let floats = 10_000;
    let mut file = Tensors {
        storages: vec![("FloatStorage", vec![0; 4 * floats])],
        tensors: vec![(MARK, 0, vec![10_000])],
    };
    open(&file.archive()).expect("one tensor");
    for name in names {
        let tensor = (&*name.leak(), 0, vec![10_000]);
        file.tensors.push(tensor);
    }
    let message = refused(&file.archive());
    assert!(message.contains("share"), "{message}");

    file.tensors = vec![(MARK, 0, vec![10_001])];
    let message = refused(&file.archive());
    assert!(message.contains("outside of its storage"), "{message}");
    for dims in [vec![0x7fff_ffff; 16], vec![1; 17], vec![0], vec![u32::MAX]] {
        file.tensors = vec![(MARK, 0, dims)];
        assert!(!refused(&file.archive()).is_empty(), "refused");
    }
}

#[test]
fn every_truncation_is_an_error() {
    for (what, bytes) in [("zip", ZIP), ("legacy", LEGACY), ("training", TRAINING)] {
        for len in (0..bytes.len()).step_by(13).chain([bytes.len() - 1]) {
            assert!(open(&bytes[..len]).is_err(), "{what} cut at {len}");
        }
    }
}

#[test]
fn spoilt_bytes_never_panic_hang_or_exhaust_memory() {
    let opcodes = b".(012)abBcCdeGhijJKlMNopqQrRstTuUX]}\x80\x81\x82\x85\x88\x8a\x8b\x94\x95";
    let files = [ZIP, LEGACY, TRAINING, TRAINING_LEGACY, CROWDED];
    let (mut read, mut built) = (0, 0);
    let mut fuzz = Fuzz::new(12_000);
    while fuzz.next_round() {
        let file = fuzz.pick(&files);
        let bytes = fuzz.spoil(file, opcodes);
        read += u64::from(open(&bytes).is_ok());
        built += u64::from(build(&bytes).is_ok());
    }
    // Most positions hold numbers, or things that do not matter.
    let done = fuzz.done();
    assert!(
        read > done / 12 && built > done / 24 && built < done,
        "of {done} {read} read, {built} built"
    );
}
