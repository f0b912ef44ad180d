//! What real files contain around the backbone: classifiers of any name or none, other networks,
//! wrappers, normalisations of the input, and leftovers of training.

use std::collections::HashMap;

use resnet_formats::WeightsAs;
use resnet_formats::weights::Weights;
use resnet_wgpu::Error;
use resnet_wgpu::Hint;
use resnet_wgpu::graph::Role;
use resnet_wgpu::internals::graph::Op;
use resnet_wgpu::internals::network::resnet::{self, Block, Plan};
use resnet_wgpu::network::{Activation, Confidence, Model, ModelOptions, Network};
use resnet_wgpu::picture::{ChannelOrder, Labels};
use safetensors::Dtype;
use safetensors::tensor::TensorView;

fn options() -> ModelOptions {
    let mut options = ModelOptions::default();
    options.size = Some([32, 40]);
    options
}

/// The file of a tiny network with `classes` classes; `rename` gives tensors new names, or drops
/// them.
fn file(classes: usize, rename: impl Fn(&str) -> Option<String>) -> Vec<u8> {
    let plan = Plan::scaled(Block::Basic, [1; 4], 8, classes);
    let network = resnet::random(&plan, 3, &options()).expect("random weights fit");
    let mut tensors = HashMap::new();
    for (name, tensor) in network.tensors() {
        if let Some(name) = rename(name) {
            let bytes: Vec<u8> = tensor.data().iter().flat_map(|x| x.to_le_bytes()).collect();
            tensors.insert(name, (tensor.dims().to_vec(), bytes));
        }
    }
    written(&tensors)
}

fn written(tensors: &HashMap<String, (Vec<usize>, Vec<u8>)>) -> Vec<u8> {
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

/// The same file with another name for the classifier, and a prefix for all other tensors.
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
fn what_is_no_known_classifier_is_left_out_and_named() {
    let remark = |bytes| {
        let network = open(bytes, &options()).expect("opened");
        assert_eq!(network.activation(), None, "no classifier");
        let decision = network.facts.decisions.get("classifier").expect("recorded");
        decision.value.clone()
    };
    let unknown = remark(renamed("neck.proj", ""));
    assert!(unknown.contains("'neck.proj' [5, 64]"), "{unknown}");
    let two = file(5, |name| {
        let bias = (name == "fc.bias").then(|| "fc_age.bias".to_owned());
        bias.or_else(|| Some(name.replace("fc.weight", "fc_age.weight")))
    });
    let two = remark(two);
    assert!(two.contains("'fc_age' [5, 64]"), "{two}");
    // Kernels after the last pool belong to another network.
    let detector = file(5, |name| {
        Some(name.replace("layer2.0.downsample.0.", "neck.lateral."))
    });
    assert!(open(detector, &options()).is_err(), "refused");
}

/// The file of a tiny network that ends with a list of layers, which are square matrices before the last one.
fn file_with_head(prefix: &str, list: &str, hidden: &[usize], last: usize) -> Vec<u8> {
    let bytes = file(5, |name| {
        Some(match name.strip_prefix("fc.") {
            Some(role) => format!("{list}.{last}.{role}"),
            None => format!("{prefix}{name}"),
        })
    });
    let read = safetensors::SafeTensors::deserialize(&bytes).expect("a valid file");
    let own = read.tensors().into_iter();
    let mut tensors: HashMap<_, _> = own
        .map(|(name, view)| (name, (view.shape().to_vec(), view.data().to_vec())))
        .collect();
    for number in hidden {
        let data = vec![0; 64 * 64 * 4];
        tensors.insert(format!("{list}.{number}.weight"), (vec![64, 64], data));
    }
    written(&tensors)
}

#[test]
fn several_linear_layers_are_one_head_with_relus_where_numbers_are_left_out() {
    let kinds = |prefix, list, hidden: &[usize], last, settings: &[(&str, &str)]| {
        let mut asked = options();
        let settings = settings
            .iter()
            .map(|&(name, value)| (name.to_owned(), value.to_owned()));
        asked.settings = settings.collect();
        let bytes = file_with_head(prefix, list, hidden, last);
        let network = resnet_formats::from_bytes("test.safetensors", bytes, &asked);
        let network = network.expect("opened");
        let guesses = network.facts.decisions.assumed();
        let guesses = guesses
            .filter(|found| found.what == "layers of head")
            .count();
        let model = network.model(&asked).expect("built");
        let nodes = model.graph.nodes().iter();
        let pool = nodes.skip_while(|node| !matches!(node.op, Op::GlobalAvgPool(_)));
        let letters = pool.filter_map(|node| match node.op {
            Op::Linear(_) => Some('L'),
            Op::Relu(_) => Some('R'),
            _ => None,
        });
        (letters.collect::<String>(), guesses)
    };
    let is = |kinds: &str, guesses| (kinds.to_owned(), guesses);
    assert_eq!(kinds("", "fc", &[0], 2, &[]), is("LRL", 1), "a gap");
    assert_eq!(kinds("", "fc", &[0], 1, &[]), is("LL", 0), "no gap");
    assert_eq!(
        kinds("backbone.", "classifier", &[1, 4], 7, &[]),
        is("LRLRL", 1),
        "beside the backbone"
    );
    let none = [("head_activation", "none")];
    assert_eq!(kinds("", "fc", &[0], 2, &none), is("LL", 0), "stated");
    // The layers after an encoder may be a projection, unless the caller knows better.
    let list = "encoder_q.fc";
    assert_eq!(
        kinds("encoder_q.", list, &[0], 2, &[]),
        is("", 0),
        "for embed"
    );
    let stated = [("classifier", "fc.2")];
    assert_eq!(
        kinds("encoder_q.", list, &[0], 2, &stated),
        is("LRL", 1),
        "stated"
    );
}

#[test]
fn convolutions_with_merged_normalisations_have_biases_instead() {
    let merged = |of: &'static str| {
        file(5, |name| {
            let normed = name
                .replace("bn", "conv")
                .replace("downsample.1", "downsample.0");
            let is_norm = normed != name;
            match name.rsplit_once('.') {
                Some((_, "bias")) if is_norm && name.starts_with(of) => Some(normed),
                _ if is_norm && name.starts_with(of) => None,
                _ => Some(name.to_owned()),
            }
        })
    };
    let count = |bytes| {
        let model = model(bytes);
        let nodes = model.graph.nodes();
        let norms = nodes
            .iter()
            .filter(|node| matches!(node.op, Op::BatchNorm(_)));
        let biased = nodes.iter().filter(|node| match &node.op {
            Op::Conv2d(conv) => conv.bias.is_some(),
            _ => false,
        });
        (norms.count(), biased.count())
    };
    let (all, none) = count(merged("nothing"));
    assert_eq!(none, 0, "as trained");
    assert_eq!(count(merged("bn1")), (all - 1, 1), "the stem");
    assert_eq!(count(merged("")), (0, all), "all of them");
}

#[test]
fn the_caller_may_name_the_classifier() {
    let mut asked = options();
    let mut open = |name: &str| {
        asked.settings = [("classifier".to_owned(), name.to_owned())].into();
        resnet_formats::from_bytes("test.safetensors", renamed("my_out", "net."), &asked)
    };
    let network = open("my_out").expect("opened");
    assert!(network.activation().is_some(), "with a classifier");
    let error = open("other").expect_err("refused").to_string();
    assert!(
        error.contains("classifier 'other'") && error.contains("'my_out' [5, 64]"),
        "{error}"
    );
}

#[test]
fn several_networks_are_listed_and_chosen_by_their_prefix() {
    let mut both: HashMap<String, (Vec<usize>, Vec<u8>)> = HashMap::new();
    for prefix in ["module.encoder_q.", "module.encoder_k."] {
        let one = file(5, |name| Some(format!("{prefix}{name}")));
        let read = safetensors::SafeTensors::deserialize(&one).expect("a valid file");
        for (name, view) in read.tensors() {
            both.insert(name, (view.shape().to_vec(), view.data().to_vec()));
        }
    }
    let bytes = written(&both);
    let error = open(bytes.clone(), &options()).expect_err("refused");
    assert_eq!(error.hint(), Some(Hint::Entry), "{error}");
    let error = error.to_string();
    assert!(
        error.contains("'module.encoder_k', 'module.encoder_q'"),
        "{error}"
    );
    // With its wrapper or without it.
    for entry in ["encoder_q", "module.encoder_q"] {
        let mut asked = options();
        asked.entry = Some(entry.to_owned());
        let network = resnet_formats::from_bytes("test.safetensors", bytes.clone(), &asked);
        assert!(
            network.expect("chosen").activation().is_some(),
            "with its classifier"
        );
    }
}

#[test]
fn wrappers_and_what_training_leaves_behind_change_nothing() {
    let plain = model(renamed("fc", ""));
    let mut tensors = HashMap::new();
    let bytes = file(5, |name| {
        Some(format!(
            "module.{}",
            name.replace("conv1.", "_orig_mod.conv1.")
        ))
    });
    let read = safetensors::SafeTensors::deserialize(&bytes).expect("a valid file");
    for (name, view) in read.tensors() {
        tensors.insert(name, (view.shape().to_vec(), view.data().to_vec()));
    }
    let number = 7f32.to_le_bytes().to_vec();
    for name in [
        "n_averaged",
        "criterion.weight",
        "metric.total",
        "module.bn1.num_batches_tracked",
    ] {
        tensors.insert(name.to_owned(), (vec![1], number.clone()));
    }
    let read = model(written(&tensors));
    assert_eq!(
        read.graph.params(),
        plain.graph.params(),
        "the same numbers"
    );
}

#[test]
fn a_normalisation_in_front_is_part_of_the_preprocessing() {
    let bytes = file(5, |name| Some(format!("1.{name}")));
    let read = safetensors::SafeTensors::deserialize(&bytes).expect("a valid file");
    let mut tensors = HashMap::new();
    for (name, view) in read.tensors() {
        tensors.insert(name, (view.shape().to_vec(), view.data().to_vec()));
    }
    let three = |x: f32| {
        [x; 3]
            .iter()
            .flat_map(|x| x.to_le_bytes())
            .collect::<Vec<u8>>()
    };
    for (mean, std, scale) in [(0.25f32, 0.5f32, 1.0), (127.5, 51.0, 255.0)] {
        tensors.insert("0.mean".to_owned(), (vec![3, 1, 1], three(mean)));
        tensors.insert("0.std".to_owned(), (vec![3, 1, 1], three(std)));
        let rules = model(written(&tensors)).preprocess;
        assert_eq!(
            (rules.mean, rules.std),
            ([mean / scale; 3], [std / scale; 3])
        );
    }
}

#[test]
fn a_network_of_many_channels_takes_arrays_in_every_form_of_its_file() {
    let mut plan = Plan::scaled(Block::Basic, [1; 4], 8, 5);
    plan.image_c = 6;
    let random = resnet::random(&plan, 3, &options()).expect("random weights fit");
    let mut bytes = Vec::new();
    for (name, tensor) in random.tensors() {
        let data = tensor.data().iter().flat_map(|x| x.to_le_bytes()).collect();
        bytes.push((name.clone(), (tensor.dims().to_vec(), data)));
    }
    let network = open(written(&bytes.into_iter().collect()), &options()).expect("opened");
    let folder = tempfile::tempdir().expect("a folder");
    let converted = folder.path().join("converted.safetensors");
    resnet_formats::save(&network, &converted, WeightsAs::F32).expect("written");
    let again = resnet_formats::open(&converted, &options()).expect("opened again");
    for network in [network, again] {
        let model = network.model(&options()).expect("built");
        assert_eq!(model.preprocess.channels, ChannelOrder::Planes(6));
        let image = model.graph.value_of(Role::Image).expect("an image");
        assert_eq!(image.shape.dims(), [1, 6, 32, 40]);
    }
}

#[test]
fn a_variance_below_zero_is_refused_by_name() {
    let plan = Plan::scaled(Block::Basic, [1; 4], 8, 5);
    let network = resnet::random(&plan, 3, &options()).expect("random weights fit");
    let mut tensors = HashMap::new();
    for (name, tensor) in network.tensors() {
        let sign = if name == "bn1.running_var" {
            -1.0
        } else {
            1.0f32
        };
        let bytes = tensor.data().iter().flat_map(|x| (sign * x).to_le_bytes());
        tensors.insert(name.clone(), (tensor.dims().to_vec(), bytes.collect()));
    }
    let error = open(written(&tensors), &options()).expect_err("refused");
    assert!(
        matches!(&error, Error::WeightNotFinite { name, .. } if name == "bn1.running_var"),
        "{error}"
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

    let mut asked = options();
    asked.classes = Some(5);
    let error = open(bytes.clone(), &asked).expect_err("refused");
    assert!(error.to_string().contains("no classifier"), "{error}");

    // The file written by `convert` states the same.
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("described.safetensors");
    let network = open(bytes, &options()).expect("opened");
    let precision = WeightsAs::F32;
    resnet_formats::save(&network, &path, precision).expect("saved");
    let again = resnet_formats::open(&path, &options()).expect("read back");
    assert_eq!(again.activation(), None, "no classifier");
}

#[test]
fn what_makes_probabilities_is_decided_and_said() {
    let as_named = |name: &str| Some(name.to_owned());
    let decided = |bytes, activation| {
        let mut options = options();
        options.activation = activation;
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
