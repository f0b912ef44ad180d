//! Keras files: small networks of every family, saved by the real writers, against the frameworks'
//! own results; and files that are damaged or make no sense.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::io::Read;

use resnet_wgpu::graph::{FlattenOrder, Op, PadValue, Padding, Statistics};
use resnet_wgpu::models::{BnMode, Confidence, Model, ModelOptions, StrideSite, Variant};
use resnet_wgpu::passes::{Fusion, optimize};
use resnet_wgpu::preprocess::{ChannelOrder, Filter, Resize};
use resnet_wgpu::tensor::Tensor;
use resnet_wgpu::weights::Family;
use resnet_wgpu::{Error, cpu, keras, reference};
use serde::Deserialize;

/// What `scripts/make_keras_fixtures.py` writes.
#[derive(Deserialize)]
struct Expected {
    cases: Vec<Case>,
}

#[derive(Deserialize)]
struct Case {
    file: String,
    /// What has to be said because the file does not show it.
    variant: Option<String>,
    /// How many batch normalisations use the statistics of the batch.
    #[serde(default)]
    batch_norms: usize,
    tolerance: Option<f32>,
    logits: Vec<f32>,
    taps: Vec<Tap>,
}

/// The first numbers of an activation of the first image, in the order of the graph.
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
    ModelOptions {
        batch: BATCH,
        size: Some(SIZE),
        ..ModelOptions::default()
    }
}

fn load(name: &str, options: &ModelOptions) -> Model {
    keras::from_bytes(name, bytes(name), options).unwrap_or_else(|error| panic!("{name}: {error}"))
}

impl Case {
    fn load(&self) -> Model {
        let variant = self.variant.as_ref().map(|name| name.parse().unwrap());
        load(
            &self.file,
            &ModelOptions {
                variant,
                ..options()
            },
        )
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

/// The generator of the script. A network that scales its pixels itself is given them scaled here,
/// as its preprocessing is part of the graph's input.
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
    assert_eq!(cases.len(), 32, "all cases are there");
    for case in &cases {
        let model = case.load();
        let activations = reference::run(&model.graph, &[image()]).unwrap();
        for tap in &case.taps {
            let value = model.graph.find(&tap.name).unwrap();
            let got = activations.get(value).unwrap();
            case.check(&tap.name, got.data(), &tap.values);
        }
        let logits = activations.get(model.logits).unwrap();
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
    let chosen = [
        "k2.keras",
        "k3.keras",
        "k4.h5",
        "k5-training.keras",
        "k6.keras",
        "rare-last.keras",
        "rare-first.keras",
        "nested.keras",
        "k1-only.h5",
    ];
    for case in cases()
        .iter()
        .filter(|case| chosen.contains(&&case.file[..]))
    {
        let model = case.load();
        for path in common::paths(&gpu) {
            for fusion in [Fusion::None, Fusion::Full] {
                let graph = optimize(&model.graph, fusion).unwrap();
                let what = format!("{path:?}, {fusion:?}");
                // The logits are the first output.
                let got = common::run_on(&gpu, path, &graph, &image());
                case.check(
                    &format!("logits on the GPU, {what}"),
                    got[0].data(),
                    &case.logits,
                );
                let got = cpu::CpuExecutor::new(&graph)
                    .unwrap()
                    .run(&[image()])
                    .unwrap();
                case.check(
                    &format!("logits on the CPU, {what}"),
                    got[0].data(),
                    &case.logits,
                );
            }
        }
    }
}
