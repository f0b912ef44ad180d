//! Keras networks as people build them, with their own preprocessing, other heads or none, and
//! nested networks; compared with the results of Keras 2 and Keras 3.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::HashMap;
use std::io::Read;

use resnet_formats::keras;
use resnet_wgpu::graph::Role;
use resnet_wgpu::internals::reference;
use resnet_wgpu::network::{Activation, Model, ModelOptions};
use resnet_wgpu::picture::ChannelOrder;
use resnet_wgpu::tensor::Tensor;
use serde::Deserialize;

/// A case that `scripts/make_keras_inside_fixtures.py` writes.
#[derive(Deserialize)]
struct Case {
    file: String,
    name: String,
    /// Whether the network takes bytes instead of numbers from -1 to 1.
    bytes: bool,
    result: Vec<f32>,
}

const SIZE: [usize; 2] = [12, 10];

fn cases() -> Vec<Case> {
    let cases = [2, 3].into_iter().flat_map(|version| {
        let json = std::fs::read_to_string(path(&format!("expected-{version}.json"))).unwrap();
        serde_json::from_str::<Vec<Case>>(&json).unwrap()
    });
    cases.collect()
}

fn path(name: &str) -> String {
    let folder = env!("CARGO_MANIFEST_DIR");
    format!("{folder}/tests/data/keras/inside/{name}")
}

fn bytes(file: &str) -> Vec<u8> {
    let packed = std::fs::File::open(path(&format!("{file}.gz"))).unwrap();
    let mut bytes = Vec::new();
    let mut unpacked = flate2::read::GzDecoder::new(packed);
    unpacked.read_to_end(&mut bytes).unwrap();
    bytes
}

impl Case {
    fn load(&self) -> Model {
        let mut options = ModelOptions::default();
        let network = keras::from_bytes(&self.file, bytes(&self.file), &options);
        // A network for images of any size has another one before.
        options.size = Some(SIZE);
        let model = network.and_then(|network| network.model(&options));
        model.unwrap_or_else(|error| panic!("{}: {error}", self.file))
    }

    /// The image that the script generates, preprocessed as the model states.
    fn image(&self, model: &Model) -> Tensor {
        let mut state = 1u64;
        let [h, w] = SIZE;
        let bytes: Vec<u8> = (0..3 * h * w)
            .map(|_| {
                state = (state * 1_103_515_245 + 12_345) & 0x7fff_ffff;
                u8::try_from(state >> 16 & 255).unwrap()
            })
            .collect();
        let rules = &model.preprocess;
        Tensor::from_fn(&[1, 3, h, w], |i| {
            let (c, pixel) = (i / (h * w), i % (h * w));
            let byte = |c: usize| f32::from(bytes[3 * pixel + c]);
            if !self.bytes {
                return byte(c) / 127.5 - 1.0;
            }
            let from = match rules.channels {
                ChannelOrder::Bgr => 2 - c,
                ChannelOrder::Grey => 0,
                _ => c,
            };
            (byte(from) / 255.0 - rules.mean[c]) / rules.std[c]
        })
    }
}

#[test]
fn results_are_those_of_keras() {
    let cases = cases();
    assert_eq!(cases.len(), 80, "all cases are there");
    for case in &cases {
        let model = case.load();
        let values = reference::run(&model.graph, &[case.image(&model)]).unwrap();
        let role = match &case.name[..] {
            "features" => Role::Features,
            "plain" | "transfer" | "first" | "largest" | "logarithms" => Role::Logits,
            "grey" | "grey-resized" => Role::Logits,
            _ => Role::Probabilities,
        };
        let value = model.graph.role(role);
        let value = value.unwrap_or_else(|| panic!("{}: no {role:?}", case.file));
        let mut got = values.get(value).unwrap().data().to_vec();
        if case.name == "logarithms" {
            got = model.activation.unwrap().scores(&got);
        }
        assert_eq!(got.len(), case.result.len(), "{}: length", case.file);
        for (got, want) in got.iter().zip(&case.result) {
            let off = (got - want).abs();
            assert!(
                off <= 1e-5 * (1.0 + want.abs()),
                "{}: {got}, not {want}",
                case.file
            );
        }
        let scaled = model.decisions.get("preprocessing").unwrap();
        let by_layer = scaled.evidence.contains("a layer of the network");
        assert_eq!(by_layer, case.bytes, "{}: {scaled}", case.file);
    }
}

#[test]
fn what_is_not_supported_is_named() {
    let refused = std::fs::read_to_string(path("refused.json")).unwrap();
    let refused: HashMap<String, String> = serde_json::from_str(&refused).unwrap();
    assert_eq!(refused.len(), 16, "all are there");
    for (file, words) in refused {
        let error = keras::from_bytes(&file, bytes(&file), &ModelOptions::default());
        let error = error.unwrap_err().to_string();
        assert!(error.contains(&words), "{file}: {error}");
    }
}

#[test]
fn images_of_another_size_are_resized_or_refused() {
    let cases = cases();
    let named = |name: &'static str| cases.iter().filter(move |case| case.name == name);
    let sized = |case: &Case, size| {
        let mut options = ModelOptions::default();
        let network = keras::from_bytes(&case.file, bytes(&case.file), &options).unwrap();
        options.size = Some(size);
        network.model(&options)
    };
    for case in named("smaller").chain(named("free")) {
        for size in [[5, 30], [40, 7]] {
            let graph = sized(case, size).unwrap().graph;
            let resize = graph.nodes().iter().find(|node| node.op.kind() == "resize");
            let shape = graph.get(resize.unwrap().output).unwrap().shape;
            assert!(
                [[7, 9], [8, 9]].contains(&[shape.h, shape.w]),
                "{}: {shape}",
                case.file
            );
        }
    }
    for case in named("same-ratio") {
        assert!(sized(case, [24, 20]).is_ok(), "{}", case.file);
        let error = sized(case, [24, 24]).unwrap_err().to_string();
        assert!(error.contains("aspect ratio"), "{}: {error}", case.file);
    }
}

#[test]
fn heads_are_known_by_their_activation() {
    for case in cases() {
        let model = case.load();
        let want = match &case.name[..] {
            "features" => None,
            "labels" | "single" | "plain" => Some(Activation::Sigmoid),
            "logarithms" => Some(Activation::LogSoftmax),
            _ => Some(Activation::Softmax),
        };
        assert_eq!(model.activation, want, "{}", case.file);
        assert_eq!(model.classes.is_some(), want.is_some(), "{}", case.file);
    }
}
