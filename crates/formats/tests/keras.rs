//! Keras files: small networks of every family, saved by Keras itself and compared with its
//! results; and files that are damaged or make no sense.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "../../../tests/common/mod.rs"]
mod common;
mod fuzz;

use std::collections::HashMap;
use std::io::Read;

use fuzz::Fuzz;
use resnet_formats::keras;
use resnet_wgpu::Error;
use resnet_wgpu::engine::{CpuExecutor, Engine};
use resnet_wgpu::graph::Role;
use resnet_wgpu::internals::graph::{
    AvgPool, Flatten, FlattenOrder, MaxPool, Op, PadValue, Padding, Relu, Statistics,
};
use resnet_wgpu::internals::network::Family;
use resnet_wgpu::internals::reference;
use resnet_wgpu::internals::reference::Keep;
use resnet_wgpu::network::{BnMode, Confidence, Model, ModelOptions, Variant};
use resnet_wgpu::passes::{Fusion, optimize};
use resnet_wgpu::picture::{ChannelOrder, Filter, Resize};
use resnet_wgpu::tensor::Tensor;
use serde::Deserialize;

/// The file that `scripts/make_keras_fixtures.py` writes.
#[derive(Deserialize)]
struct Expected {
    cases: Vec<Case>,
}

#[derive(Deserialize)]
struct Case {
    file: String,
    /// The variant, where it must be stated because the file does not show it.
    variant: Option<String>,
    bn_mode: Option<String>,
    /// The number of batch normalisations that use the statistics of the batch.
    #[serde(default)]
    batch_norms: usize,
    tolerance: Option<f32>,
    logits: Vec<f32>,
    taps: Vec<Tap>,
}

/// The first elements of an activation of the first image, in the layout of the graph.
#[derive(Deserialize)]
struct Tap {
    name: String,
    values: Vec<f32>,
}

const BATCH: usize = 2;
const SIZE: [usize; 2] = [40, 36];

fn cases() -> Vec<Case> {
    let parts = ["keras-3", "keras-2", "tf-2.13", "keras-3.0"];
    let cases = parts.into_iter().flat_map(|part| {
        let name = format!("expected-{part}.json");
        let json = std::fs::read_to_string(path(&name)).unwrap();
        serde_json::from_str::<Expected>(&json).unwrap().cases
    });
    cases.collect()
}

fn path(name: &str) -> String {
    format!("{}/tests/data/keras/{name}", env!("CARGO_MANIFEST_DIR"))
}

fn bytes(name: &str) -> Vec<u8> {
    let packed = std::fs::File::open(path(&format!("{name}.gz"))).unwrap();
    let mut bytes = Vec::new();
    flate2::read::GzDecoder::new(packed)
        .read_to_end(&mut bytes)
        .unwrap();
    bytes
}

fn options() -> ModelOptions {
    let mut options = ModelOptions::default();
    options.batch = BATCH;
    options.size = Some(SIZE);
    options
}

fn load(name: &str, options: &ModelOptions) -> Model {
    let network = keras::from_bytes(name, bytes(name), options);
    let model = network.and_then(|network| network.model(options));
    model.unwrap_or_else(|error| panic!("{name}: {error}"))
}

impl Case {
    fn load(&self) -> Model {
        let mut options = options();
        options.variant = self.variant.as_ref().map(|name| name.parse().unwrap());
        options.bn_mode = self.bn_mode.as_ref().map(|mode| mode.parse().unwrap());
        load(&self.file, &options)
    }

    #[track_caller]
    fn check(&self, what: &str, got: &[f32], want: &[f32]) {
        let tolerance = self.tolerance.unwrap_or(2e-5);
        assert!(got.len() >= want.len(), "{} {what}: length", self.file);
        for (i, (got, want)) in got.iter().zip(want).enumerate() {
            assert!(
                (got - want).abs() <= tolerance * (1.0 + want.abs()),
                "{} {what}: number {i} is {got}, Keras has {want}",
                self.file
            );
        }
    }
}

/// The image that the script generates. If the network scales pixels itself, they are scaled here,
/// as that is part of its preprocessing.
fn image() -> Tensor {
    let mut state = 1u64;
    Tensor::from_fn(&[BATCH, 3, SIZE[0], SIZE[1]], |_| {
        state = (state * 1_103_515_245 + 12_345) & 0x7fff_ffff;
        let byte = u8::try_from(state >> 16 & 255).unwrap();
        f32::from(byte) / 127.5 - 1.0
    })
}

#[test]
fn results_are_those_of_keras() {
    let cases = cases();
    assert_eq!(cases.len(), 34, "all cases are there");
    for case in &cases {
        let model = case.load();
        let activations = reference::run_keeping(&model.graph, &[image()], Keep::All).unwrap();
        for tap in &case.taps {
            let value = model.graph.find(&tap.name).unwrap();
            let got = activations.get(value).unwrap();
            case.check(&tap.name, got.data(), &tap.values);
        }
        let logits = activations
            .get(model.graph.role(Role::Logits).unwrap())
            .unwrap();
        assert_eq!(logits.len(), case.logits.len(), "{}: classes", case.file);
        case.check("logits", logits.data(), &case.logits);
        assert_eq!(model.family, Family::Keras, "{}", case.file);
        let of_batch = model.graph.nodes().iter().filter(
            |node| matches!(node.op, Op::BatchNorm(norm) if norm.statistics == Statistics::Batch),
        );
        assert_eq!(
            of_batch.count(),
            case.batch_norms,
            "{}: training=True",
            case.file
        );
    }
}

#[test]
fn the_fast_paths_give_the_same() {
    let gpu = common::gpu();
    // Each covers what no other does: zeros around a max pool and a shortcut that only strides;
    // uneven padding; statistics of the batch; groups, and pixels scaled by the network.
    let chosen = ["k3.keras", "k4.h5", "k5-training.h5", "rare-last.keras"];
    for case in cases()
        .iter()
        .filter(|case| chosen.contains(&&case.file[..]))
    {
        let model = case.load();
        let graph = optimize(&model.graph, Fusion::Full).unwrap();
        // The logits are the first output.
        let got = CpuExecutor::new(&graph).unwrap().run(&image()).unwrap();
        case.check("logits on the CPU", got[0].data(), &case.logits);
        for path in common::paths(&gpu) {
            let got = common::run_on(&gpu, path, &graph, &image());
            case.check(
                &format!("logits on the GPU, {path:?}"),
                got[0].data(),
                &case.logits,
            );
        }
    }
}

/// The operations of a model that show strides, padding and kernel sizes.
fn ops(model: &Model) -> Vec<Op> {
    model.graph.nodes().iter().map(|node| node.op).collect()
}

#[test]
fn geometry_comes_from_the_description() {
    let rare = ops(&load("rare-last.keras", &options()));
    assert!(
        matches!(rare[0], Op::Conv2d(conv) if conv.padding == Padding {
            top: 2, bottom: 1, left: 0, right: 3
        }),
        "the padding of a layer before it: {:?}",
        rare[0]
    );
    assert_eq!(rare[1], Op::Relu(Relu), "an activation that is an option");
    assert!(
        matches!(rare[3], Op::AvgPool(AvgPool { window, count_padding: false })
            if window.padding == Padding::all(1)),
        "same: {:?}",
        rare[3]
    );
    assert!(
        matches!(rare[4], Op::Conv2d(conv) if conv.groups == 2),
        "{:?}",
        rare[4]
    );
    let hwc = Op::Flatten(Flatten {
        order: FlattenOrder::Hwc,
    });
    assert!(rare.contains(&hwc), "channels last");
    let first = ops(&load("rare-first.keras", &options()));
    assert!(
        first.contains(&hwc),
        "Flatten moves channels that come first"
    );
    let official = ops(&load("k4.h5", &options()));
    assert!(
        official
            .iter()
            .any(|op| matches!(op, Op::MaxPool(MaxPool { window, pad_value })
            if *pad_value == PadValue::NegInfinity
                && window.padding == Padding { top: 0, bottom: 1, left: 0, right: 1 })),
        "same, on an even size"
    );
    let v2 = ops(&load("k3.keras", &options()));
    assert!(
        v2.iter().any(
            |op| matches!(op, Op::MaxPool(MaxPool { pad_value: PadValue::Zero, window })
            if window.padding == Padding::all(1))
        ),
        "zeros on activations that may be below zero"
    );
    assert!(
        v2.iter()
            .any(|op| matches!(op, Op::MaxPool(MaxPool { window, .. })
            if window.kernel == [1, 1] && window.stride == [2, 2])),
        "a shortcut that only strides"
    );
}

/// Unpacks a folder written by Keras.
fn folder(name: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for entry in std::fs::read_dir(path(name)).unwrap() {
        let from = entry.unwrap().path();
        let file = from.file_name().unwrap().to_str().unwrap();
        match file.strip_suffix(".gz") {
            Some(unpacked) => {
                let to = folder.path().join(unpacked);
                std::fs::write(to, bytes(&format!("{name}/{unpacked}"))).unwrap();
            }
            None => {
                std::fs::copy(&from, folder.path().join(file)).unwrap();
            }
        }
    }
    folder
}

#[test]
fn files_beside_the_weights_describe_them() {
    let expected = std::fs::read_to_string(path("expected-preset.json")).unwrap();
    let expected: HashMap<String, Vec<f32>> = serde_json::from_str(&expected).unwrap();
    for (name, file) in [
        ("preset", "model.weights.h5"),
        ("preset", "task.weights.h5"),
        ("unzipped", "model.weights.h5"),
    ] {
        let folder = folder(name);
        let mut options = ModelOptions::default();
        options.batch = BATCH;
        let network = resnet_formats::open(folder.path().join(file), &options).unwrap();
        let model = network.model(&options).unwrap();
        assert_eq!(model.size(), SIZE, "{name}: size");
        let layers = model.decisions.get("layers").unwrap().to_string();
        assert!(layers.contains("beside it"), "{layers}");
        let values = reference::run(&model.graph, &[image()]).unwrap();
        let want = &expected[name];
        let got = values
            .get(model.graph.role(Role::Logits).unwrap())
            .unwrap()
            .data();
        assert_eq!(got.len(), want.len(), "{name}: length");
        for (got, want) in got.iter().zip(want) {
            let off = (got - want).abs();
            assert!(
                off <= 2e-5 * (1.0 + want.abs()),
                "{name}: {got}, not {want}"
            );
        }
        if name == "preset" {
            // pixel · scale + offset, by the image converter in `task.json`.
            for (c, (scale, offset)) in [(58.395, -2.125), (57.12, -2.0625), (57.375, -1.75)]
                .into_iter()
                .enumerate()
            {
                let rules = &model.preprocess;
                let got = (100.0 / 255.0 - rules.mean[c]) / rules.std[c];
                let want: f32 = 100.0 / scale + offset;
                assert!((got - want).abs() < 1e-5, "{got}, not {want}");
            }
        }
    }
}

#[test]
fn a_preset_must_be_whole_and_other_configurations_are_ignored() {
    let preset = folder("preset");
    let at = |name: &str| preset.path().join(name);
    let open = |name: &str| resnet_formats::open(at(name), &options()).map(|_| ());
    // Truncated, but still recognised.
    let head = std::fs::read(at("task.weights.h5")).unwrap();
    std::fs::write(at("task.weights.h5"), &head[..head.len() / 2]).unwrap();
    let error = open("model.weights.h5").unwrap_err();
    assert!(matches!(error, Error::WeightsUnreadable { .. }), "{error}");
    assert!(error.to_string().contains("task.weights.h5"), "{error}");
    std::fs::write(at("task.weights.h5"), head).unwrap();

    std::fs::remove_file(at("task.json")).unwrap();
    let error = open("task.weights.h5").unwrap_err();
    assert!(error.to_string().contains("must be beside"), "{error}");
    let error = open("model.weights.h5").unwrap_err();
    assert!(error.to_string().contains("no classifier"), "{error}");

    let whole = folder("unzipped");
    let config = whole.path().join("config.json");
    std::fs::write(&config, "{\"architectures\": [\"ResNet\"]}").unwrap();
    let model = resnet_formats::open(whole.path().join("model.weights.h5"), &options());
    let error = model.unwrap_err();
    assert!(
        matches!(
            error,
            Error::WeightsUnrecognised { .. } | Error::WeightsAmbiguous { .. }
        ),
        "as without the file: {error}"
    );
}

/// The image size that a network has if none is requested.
fn own_size(name: &str) -> [usize; 2] {
    let mut options = ModelOptions::default();
    options.variant = name
        .starts_with("k5")
        .then_some(Variant::Notebook)
        .filter(|_| name.contains("weights"));
    load(name, &options).size()
}

#[test]
fn sizes_are_those_of_the_description_or_the_usual_ones() {
    assert_eq!(own_size("k2.keras"), SIZE, "described");
    assert_eq!(own_size("k6.keras"), SIZE, "described by the backbone");
    assert_eq!(
        own_size("nested-2.h5"),
        SIZE,
        "described outside of a network"
    );
    assert_eq!(own_size("k2-only.h5"), [224, 224], "any size fits");
}

#[test]
fn preprocessing_is_that_of_the_family() {
    let rules = |name: &str| {
        let model = load(name, &options());
        let decision = model.decisions.get("preprocessing").unwrap().clone();
        (model.preprocess, decision.confidence)
    };
    let (caffe, _) = rules("k2.keras");
    assert_eq!(caffe.channels, ChannelOrder::Bgr, "mode caffe");
    assert_eq!(
        (caffe.size, caffe.resize),
        (SIZE, Resize::Squash),
        "load_img"
    );
    assert_eq!(caffe.filter, Filter::Nearest, "load_img");
    assert_eq!(rules("k1-only.h5").1, Confidence::Inferred, "as published");
    assert_eq!(
        rules("k2.keras").1,
        Confidence::Assumed,
        "other classes, perhaps other rules"
    );
    let (tf, _) = rules("k3.weights.h5");
    assert_eq!((tf.mean, tf.std), ([0.5; 3], [0.5; 3]), "mode tf");
    let (lesson, _) = rules("k5.h5");
    assert_eq!(
        (lesson.mean, lesson.std),
        ([0.0; 3], [1.0; 3]),
        "the lesson"
    );
    let (own, confidence) = rules("rare-last.keras");
    for c in 0..3 {
        // x / 127.5 − 1
        assert!(
            (own.mean[c] - 0.5).abs() < 1e-6 && (own.std[c] - 0.5).abs() < 1e-6,
            "{own}"
        );
    }
    assert_eq!(
        confidence,
        Confidence::Inferred,
        "the network scales the pixels itself"
    );
}

#[test]
fn what_weights_leave_open_is_said_or_refused() {
    let open = |name: &str, variant| {
        let mut options = options();
        options.variant = variant;
        keras::from_bytes(name, bytes(name), &options)?.model(&options)
    };
    match open("k4-only.h5", None) {
        Err(Error::WeightsAmbiguous { variants, .. }) => assert_eq!(variants, ["tf-official"]),
        other => panic!("no biases: {other:?}"),
    }
    match open("k2-unnamed.weights.h5", None) {
        Err(Error::WeightsAmbiguous { variants, .. }) => {
            assert_eq!(variants, ["keras-applications", "notebook"]);
        }
        other => panic!("no names: {other:?}"),
    }
    assert!(
        matches!(
            open("k3.weights.h5", Some(Variant::Notebook)),
            Err(Error::Model { .. })
        ),
        "names that no lesson has"
    );
    assert!(
        matches!(
            open("k2.keras", Some(Variant::Notebook)),
            Err(Error::Model { .. })
        ),
        "a description leaves nothing open"
    );
    let confidence = |name: &str, variant| {
        let model = open(name, variant).unwrap();
        model.decisions.get("variant").unwrap().confidence
    };
    assert_eq!(confidence("k2-only.h5", None), Confidence::Certain, "names");
    assert_eq!(
        confidence("k5-only.h5", None),
        Confidence::Assumed,
        "K1 has the same names"
    );
    let asked = Some(Variant::Notebook);
    assert_eq!(
        confidence("k5-only.h5", asked),
        Confidence::Certain,
        "asked for"
    );
    assert!(
        open("k2.keras", None)
            .unwrap()
            .decisions
            .get("variant")
            .is_none(),
        "described"
    );

    // The two versions of Keras's first ResNet-50 differ only in the padding of the max pool.
    let pool = |variant| {
        let model = open("k1-only.h5", variant).unwrap();
        let pools = ops(&model).into_iter().filter_map(|op| match op {
            Op::MaxPool(MaxPool { window, .. }) => Some(window.padding),
            _ => None,
        });
        pools.collect::<Vec<_>>()
    };
    assert_eq!(pool(None), [Padding::all(1)], "since 2018");
    assert_eq!(
        pool(Some(Variant::FcholletUnpadded)),
        [Padding::all(0)],
        "before"
    );
}

#[test]
fn options_that_do_not_fit_are_refused() {
    let mut classes = options();
    classes.classes = Some(7);
    let error = keras::from_bytes("k2.h5", bytes("k2.h5"), &classes).unwrap_err();
    assert!(error.to_string().contains("5 classes, not 7"), "{error}");
    let mut size = options();
    size.size = Some([80, 80]);
    let error = keras::from_bytes("rare", bytes("rare-last.keras"), &size).unwrap_err();
    assert!(
        error.to_string().contains("size"),
        "a Flatten fits one size: {error}"
    );
    let mut running = options();
    running.bn_mode = Some(BnMode::Running);
    let model = load("k5-training.h5", &running);
    assert_eq!(
        model.decisions.get("batch norm").unwrap().evidence,
        "asked for"
    );
}

/// Opens a modified file, which may fail with an error but must not panic.
fn survives(what: &str, bytes: Vec<u8>) -> Option<Error> {
    match keras::from_bytes(what, bytes, &options()) {
        Ok(_) => None,
        Err(error) => {
            assert!(!error.to_string().is_empty(), "{what}: it says something");
            Some(error)
        }
    }
}

#[test]
fn truncated_files_are_errors() {
    for name in ["k2.keras", "k2.h5", "k2-latest.h5", "k5-main.weights.h5"] {
        let whole = bytes(name);
        for part in 0..40 {
            let length = whole.len() * part / 40;
            let error = survives(&format!("{name} cut at {length}"), whole[..length].to_vec());
            assert!(
                error.is_some(),
                "{name}: {length} of {} bytes are enough",
                whole.len()
            );
        }
    }
}

#[test]
fn changed_bytes_never_crash() {
    let names = [
        "k2.keras",
        "k2.h5",
        "k2-latest.h5",
        "k2-gzip.h5",
        "k5-main.weights.h5",
        "rare-first.keras",
    ];
    let files = names.map(|name| (name, bytes(name)));
    let mut errors = 0;
    let mut fuzz = Fuzz::new(240);
    while fuzz.next_round() {
        let (name, whole) = &files[fuzz.below(files.len())];
        // Message types and sizes of HDF5, and the characters of JSON.
        let tokens = b"\x00\x01\x03\x05\x08\x0b\x0c\x10\x11\x15TREEOHDRSNOD{}[]\":,0-e";
        errors += u64::from(survives(name, fuzz.spoil(whole, tokens)).is_some());
    }
    let done = fuzz.done();
    assert!(
        errors > done / 10 && errors < done,
        "{errors} of {done} were refused"
    );
}

/// A `.keras` archive with a changed description: replaced in place, padded with spaces.
fn described(name: &str, from: &str, to: &str) -> Vec<u8> {
    let mut file = bytes(name);
    assert!(to.len() <= from.len(), "it must fit");
    let padded = format!("{to}{}", " ".repeat(from.len() - to.len()));
    let mut at = 0;
    let mut count = 0;
    while let Some(found) = file[at..]
        .windows(from.len())
        .position(|w| w == from.as_bytes())
    {
        at += found;
        file[at..at + from.len()].copy_from_slice(padded.as_bytes());
        at += from.len();
        count += 1;
    }
    assert!(count > 0, "'{from}' is in {name}");
    file
}

#[test]
fn descriptions_that_make_no_sense_are_refused_by_name() {
    for (name, from, to, expected) in [
        (
            "k2.keras",
            "\"padding\": \"same\"",
            "\"padding\": \"odd\"",
            "padding 'odd'",
        ),
        (
            "k2.keras",
            "\"class_name\": \"Add\"",
            "\"class_name\": \"Sub\"",
            "'conv2_block1_add' (Sub)",
        ),
        (
            "k2.keras",
            "\"activation\": \"relu\"",
            "\"activation\": \"selu\"",
            "'selu'",
        ),
        (
            "k2.keras",
            "\"strides\": [2, 2]",
            "\"strides\": [0, 2]",
            "'strides'",
        ),
        (
            "k2.keras",
            "\"dilation_rate\": [1, 1]",
            "\"dilation_rate\": [0, 1]",
            "'dilation_rate'",
        ),
        (
            "k2.keras",
            "\"epsilon\": 1.001e-05",
            "\"epsilon\": \"a\"",
            "'epsilon'",
        ),
        ("k2.keras", "\"axis\": 3", "\"axis\": 2", "axis 2"),
        (
            "k2.keras",
            "[\"conv1_conv\", 0, 0]",
            "[\"conv1_bn\", 0, 0]",
            "cycle",
        ),
        (
            "k2.keras",
            "[\"conv1_conv\", 0, 0]",
            "[\"conv1_conx\", 0, 0]",
            "not a layer",
        ),
        (
            "k2.keras",
            "[\"conv1_conv\", 0, 0]",
            "[\"conv1_conv\", 1, 0]",
            "call 1",
        ),
        (
            "k2.keras",
            "\"class_name\": \"Functional\"",
            "\"class_name\": \"MyModel\"",
            "'MyModel'",
        ),
        (
            "k2.keras",
            "\"filters\": 64",
            "\"filters\": 63",
            "64 filters",
        ),
        (
            "k2.keras",
            "\"use_bias\": true",
            "\"use_bias\": 0",
            "'use_bias' must be true or false",
        ),
        (
            "rare-last.keras",
            "\"renorm\": false",
            "\"renorm\": true",
            "renormalisation",
        ),
        (
            "k6.keras",
            "\"bottleneck_block\"",
            "\"basic_blocks\"",
            "blocks 'basic_blocks'",
        ),
    ] {
        let from = from.replace("\\", "");
        let error = survives(to, described(name, &from, to));
        let text = error
            .unwrap_or_else(|| panic!("{to} was accepted"))
            .to_string();
        assert!(text.contains(expected), "{to}: {text}");
    }
}
