//! Classifiers under all of their names, without a bias, and networks that have none.

use std::collections::HashMap;

use resnet_formats::weights::Weights;
use resnet_wgpu::Error;
use resnet_wgpu::graph::Role;
use resnet_wgpu::internals::graph::Op;
use resnet_wgpu::internals::network::resnet::{self, Block, Plan};
use resnet_wgpu::network::{Activation, Confidence, Model, ModelOptions, Network};
use resnet_wgpu::picture::Labels;
use safetensors::Dtype;
use safetensors::tensor::TensorView;

fn options() -> ModelOptions {
    ModelOptions {
        size: Some([32, 40]),
        ..ModelOptions::default()
    }
}

/// A file of a tiny network of so many classes, whose tensors are called or left out as `rename`
/// says.
fn file(classes: usize, rename: impl Fn(&str) -> Option<String>) -> Vec<u8> {
    let plan = Plan::scaled(Block::Basic, [1; 4], 8, classes);
    let network = resnet::made_up(&plan, 3, &options()).expect("made-up weights fit");
    let mut tensors = HashMap::new();
    for (name, tensor) in network.tensors() {
        if let Some(name) = rename(name) {
            let bytes: Vec<u8> = tensor.data().iter().flat_map(|x| x.to_le_bytes()).collect();
            tensors.insert(name, (tensor.dims().to_vec(), bytes));
        }
    }
    let views = tensors.iter().map(|(name, (dims, bytes))| {
        let view = TensorView::new(Dtype::F32, dims.clone(), bytes).expect("sizes fit");
        (name, view)
    });
    safetensors::serialize(views, None).expect("a valid file")
}

fn open(bytes: Vec<u8>, options: &ModelOptions) -> Result<Network, Error> {
    Weights::from_bytes("test.safetensors", bytes)?.network(options)
}

fn model(bytes: Vec<u8>) -> Model {
    let network = open(bytes, &options()).expect("opened");
    network.model(&options()).expect("built")
}

/// The same file with the classifier under another name, and the rest behind a prefix.
fn renamed(head: &str, prefix: &str) -> Vec<u8> {
    file(5, |name| {
        Some(match name.strip_prefix("fc.") {
            Some(role) => format!("{head}.{role}"),
            None => format!("{prefix}{name}"),
        })
    })
}

#[test]
fn classifiers_are_found_under_all_of_their_names() {
    for (head, prefix) in [
        ("fc", ""),
        ("fc.1", ""),
        ("head", ""),
        ("head.fc", "backbone."),
        ("classifier", ""),
        ("classifier.2", "resnet."),
        ("linear", ""),
        ("last_linear", ""),
        ("output", ""),
        ("module.head.fc", "module.backbone."),
    ] {
        let model = model(renamed(head, prefix));
        assert_eq!(model.classes, Some(5), "{head}: classes");
        assert_eq!(model.activation, Some(Activation::Softmax), "{head}");
        let logits = model.graph.value_of(Role::Logits).expect("scores");
        assert_eq!(logits.name, "fc", "{head}: one name here");
    }
}

#[test]
fn a_classifier_of_an_unknown_name_or_of_several_layers_is_refused_by_name() {
    let refused = |bytes| open(bytes, &options()).expect_err("refused").to_string();
    let unknown = refused(renamed("neck.proj", ""));
    assert!(unknown.contains("'neck.proj' [5, 64]"), "{unknown}");
    let two = file(5, |name| {
        // The tensors of the shortcut of a block serve as those of another head.
        Some(name.replace("layer2.0.downsample.0.weight", "fc_age.weight"))
    });
    let two = refused(two);
    assert!(
        two.contains("'fc' [5, 64]") && two.contains("'fc_age'"),
        "{two}"
    );
}

#[test]
fn a_classifier_may_have_no_bias() {
    let model = model(file(5, |name| (name != "fc.bias").then(|| name.to_owned())));
    let last = model.graph.nodes().iter().find(|node| node.name == "fc");
    let Some(Op::Linear(linear)) = last.map(|node| node.op) else {
        panic!("the classifier is a linear layer");
    };
    assert_eq!(linear.bias, None, "no bias");
}

#[test]
fn a_network_without_a_classifier_gives_what_leaves_its_last_pool() {
    let bytes = file(5, |name| {
        (!name.starts_with("fc.")).then(|| name.to_owned())
    });
    let model = model(bytes.clone());
    assert_eq!(
        (model.classes, model.activation),
        (None, None),
        "no classifier"
    );
    let graph = &model.graph;
    let features = graph.value_of(Role::Features).expect("features");
    assert_eq!(features.shape.dims(), [1, 64, 1, 1], "length");
    assert_eq!(
        graph.outputs(),
        [graph.role(Role::Features).expect("there")]
    );
    assert!(graph.role(Role::Logits).is_none(), "no scores");

    let asked = ModelOptions {
        classes: Some(5),
        ..options()
    };
    let error = open(bytes.clone(), &asked).expect_err("refused");
    assert!(error.to_string().contains("no classifier"), "{error}");

    // The file of `convert` says the same.
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("described.safetensors");
    let network = open(bytes, &options()).expect("opened");
    let precision = resnet_wgpu::internals::kernels::Precision::F32;
    resnet_formats::save(&network, &path, precision).expect("saved");
    let again = resnet_formats::open(&path, &options()).expect("read back");
    assert_eq!(again.activation(), None, "no classifier");
}

#[test]
fn what_makes_probabilities_is_decided_and_said() {
    let as_named = |name: &str| Some(name.to_owned());
    let decided = |bytes, activation| {
        let options = ModelOptions {
            activation,
            ..options()
        };
        let network = open(bytes, &options).expect("opened");
        let decision = network.facts.decisions.get("activation").expect("recorded");
        assert_eq!(
            network.activation().map(Activation::name),
            Some(&decision.value[..])
        );
        (network.activation(), decision.confidence)
    };
    for (bytes, asked, expected) in [
        (
            file(5, as_named),
            None,
            (Activation::Softmax, Confidence::Inferred),
        ),
        (
            file(1, as_named),
            None,
            (Activation::Sigmoid, Confidence::Inferred),
        ),
        (
            file(5, as_named),
            Some(Activation::Sigmoid),
            (Activation::Sigmoid, Confidence::Certain),
        ),
        // `Sequential(Linear, LogSoftmax)`
        (
            renamed("fc.0", ""),
            None,
            (Activation::LogSoftmax, Confidence::Assumed),
        ),
    ] {
        let (activation, confidence) = expected;
        assert_eq!(decided(bytes, asked), (Some(activation), confidence));
    }
}

#[test]
fn a_thousand_classes_under_published_names_are_imagenets() {
    let labels = |classes| {
        let network = open(file(classes, |name| Some(name.to_owned())), &options());
        network.expect("opened").facts.labels
    };
    assert_eq!(labels(1000), Some(Labels::imagenet1k()), "ImageNet");
    assert_eq!(labels(999), None, "something else");
}
