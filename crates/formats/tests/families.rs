//! Tiny networks saved by torchvision, timm and Hugging Face, compared with the results of those
//! libraries.
//!
//! `scripts/make_family_fixtures.py` describes and writes the folders in `tests/data/families`.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use resnet_formats::WeightsAs;
use resnet_wgpu::Error;
use resnet_wgpu::graph::Role;
use resnet_wgpu::internals::network::Family;
use resnet_wgpu::internals::reference::{self, Keep};
use resnet_wgpu::network::{Confidence, Model, ModelOptions, Network, Variant};
use resnet_wgpu::picture::{ChannelOrder, Preprocess, Resize};
use resnet_wgpu::tensor::Tensor;
use safetensors::SafeTensors;

/// A folder, its weight file, and the expected name of the network.
const FOLDERS: &[(&str, &str, &str)] = &[
    ("torchvision-basic", "model.pth", "resnet12_stem4"),
    ("torchvision-resnext", "model.pth", "resnext17_2x32d_stem4"),
    ("torchvision-wide", "model.pth", "wide_resnet17_2_stem4"),
    ("timm-c", "model.safetensors", "resnet17c_stem8"),
    ("timm-d", "model.safetensors", "resnet17d_stem8"),
    ("timm-d-basic", "model.safetensors", "resnet12d_stem8"),
    ("timm-s", "model.safetensors", "resnet17s_stem8"),
    ("timm-t", "model.safetensors", "resnet17t_stem8"),
    ("timm-se", "model.safetensors", "seresnet17_stem8"),
    ("timm-se-basic", "model.safetensors", "seresnet12_stem8"),
    ("timm-senet", "model.safetensors", "legacy_seresnet17_stem8"),
    (
        "timm-senet-basic",
        "model.safetensors",
        "legacy_seresnet12_stem8",
    ),
    (
        "timm-senext",
        "model.safetensors",
        "legacy_seresnext17_2x32d_stem8",
    ),
    ("timm-blur", "model.safetensors", "resnetblur17_stem8"),
    ("timm-blur-basic", "model.safetensors", "resnetblur12_stem8"),
    ("timm-aa", "model.safetensors", "resnetaa17_stem8"),
    (
        "timm-se-aa-d",
        "model.safetensors",
        "seresnextaa17d_2x32d_stem8",
    ),
    ("timm-v2", "model.safetensors", "resnetv2_17_stem8"),
    ("timm-v2-basic", "model.safetensors", "resnetv2_12_stem8"),
    ("timm-v2-d", "model.safetensors", "resnetv2_17d_stem8"),
    ("timm-v2-fixed", "model.safetensors", "resnetv2_17_stem8"),
    ("huggingface", "model.safetensors", "resnet17_stem4"),
    ("huggingface-basic", "model.safetensors", "resnet12_stem16"),
    ("huggingface-first", "model.safetensors", "resnet17_stem4"),
    ("huggingface-v1", "model.safetensors", "resnet17_stem4"),
    ("timm-eca", "model.safetensors", "ecaresnet17t_stem8"),
    ("timm-sk", "model.safetensors", "skresnet17_stem8"),
    ("timm-sk-basic", "model.safetensors", "skresnet12_stem8"),
    (
        "timm-sk-next",
        "model.safetensors",
        "skresnext17_4x32d_stem8",
    ),
    ("timm-resnest", "model.safetensors", "resnest17d_stem8"),
    (
        "timm-res2net",
        "model.safetensors",
        "res2net17_24w_4s_stem8",
    ),
    (
        "timm-res2next",
        "model.safetensors",
        "res2next17_16w_4s_stem8",
    ),
    ("timm-gn", "model.safetensors", "resnet17_stem8_gn"),
    ("timm-bit", "model.safetensors", "resnetv2_17_stem8_bit"),
    ("timm-dilated", "model.safetensors", "resnet17d_stem8"),
    ("torchvision-dilated", "model.pth", "resnet17_stem4"),
    ("torchvision-head", "model.pth", "resnet12_stem4"),
    ("timm-max", "model.safetensors", "resnet12_stem8"),
    ("torchvision-grey", "model.pth", "resnet12_stem4"),
    ("torchvision-fine", "model.pth", "resnet12_stem4"),
    ("torchvision-ceil", "model.pth", "resnet12_stem4"),
    ("cifar-a", "model.pth", "resnet10_cifar_stem4"),
    ("cifar-b", "model.pth", "resnet10_cifar_stem4"),
    ("cifar-bottleneck", "model.pth", "resnet17_cifar_stem4"),
    ("clip", "model.safetensors", "clip_resnet17_stem4"),
    ("detectron", "model.pth", "resnet17_stem4"),
    ("onnx-folded", "model.onnx", "main_graph"),
];

fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/data/families")
        .join(name)
}

/// The values that the library computed, by name; the images are named `input`.
fn golden(name: &str) -> BTreeMap<String, Tensor> {
    let bytes = std::fs::read(folder(name).join("golden.safetensors")).unwrap();
    let file = SafeTensors::deserialize(&bytes).unwrap();
    let tensors = file.tensors().into_iter().map(|(name, view)| {
        let (words, _) = view.data().as_chunks::<4>();
        let data: Vec<f32> = words.iter().map(|&word| f32::from_le_bytes(word)).collect();
        (name, Tensor::new(view.shape(), data).unwrap())
    });
    tensors.collect()
}

/// Settings that must be stated for the network in a folder.
const SETTINGS: &[(&str, &[(&str, &str)])] = &[
    ("timm-gn", &[("norm_groups", "4")]),
    ("timm-bit", &[("norm_groups", "2")]),
    ("torchvision-dilated", &[("output_stride", "8")]),
    ("torchvision-head", &[("head_activation", "relu")]),
    (
        "torchvision-fine",
        &[("stem_stride", "1"), ("stem_pool", "none")],
    ),
    (
        "torchvision-ceil",
        &[("ceil_mode", "true"), ("last_stride", "1")],
    ),
];

/// Options for the images of a folder.
fn options(name: &str) -> ModelOptions {
    let size = match name {
        "clip" => [64, 64],
        _ if name.contains("-aa") => [64, 96],
        _ => [45, 61],
    };
    let settings = SETTINGS.iter().filter(|(folder, _)| *folder == name);
    let settings = settings.flat_map(|(_, settings)| settings.iter());
    let mut options = ModelOptions::default();
    options.settings = settings
        .map(|&(name, value)| (name.to_owned(), value.to_owned()))
        .collect();
    options.batch = 2;
    options.size = Some(size);
    options
}

fn network(name: &str, file: &str) -> Network {
    let path = folder(name).join(file);
    resnet_formats::open(path, &options(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

fn open(name: &str, file: &str) -> Model {
    network(name, file).model(&options(name)).unwrap()
}

fn model_of(path: &Path, options: &ModelOptions) -> Result<Model, Error> {
    resnet_formats::open(path, options)?.model(options)
}

/// The largest difference of any value, relative to that value's largest magnitude.
fn error_of(model: &Model, golden: &BTreeMap<String, Tensor>) -> f32 {
    let inputs = std::slice::from_ref(&golden["input"]);
    let values = reference::run_keeping(&model.graph, inputs, Keep::All).unwrap();
    let mut worst = 0.0f32;
    let names = golden.keys().filter(|name| *name != "input");
    let mut compared = 0;
    for name in names {
        let id = model.graph.find(name).unwrap();
        let (got, expected) = (values.get(id).unwrap(), &golden[name]);
        assert_eq!(got.len(), expected.len(), "scalars of '{name}'");
        let scale = expected
            .data()
            .iter()
            .fold(0.0f32, |max, x| max.max(x.abs()));
        let pairs = got.data().iter().zip(expected.data());
        let difference = pairs.fold(0.0f32, |max, (x, y)| max.max((x - y).abs()));
        assert!(difference.is_finite() && scale > 0.0, "'{name}'");
        worst = worst.max(difference / scale);
        compared += 1;
    }
    assert!(compared >= 1, "nothing was compared");
    worst
}

#[test]
fn every_family_computes_what_its_library_does() {
    for (name, file, arch) in FOLDERS {
        let model = open(name, file);
        assert_eq!(&model.arch, arch, "{name}");
        let golden = golden(name);
        let error = error_of(&model, &golden);
        assert!(error < 1e-5, "{name}: {error}");
    }
}

#[test]
fn the_ends_of_the_stages_are_found_in_every_family() {
    for (name, file, _) in FOLDERS {
        let graph = open(name, file).graph;
        let stage = |number| graph.value_of(Role::Stage(number)).ok();
        let count = (1..).take_while(|&number| stage(number).is_some()).count();
        let expected = if ["cifar-a", "cifar-b"].contains(name) {
            3
        } else {
            4
        };
        assert_eq!(count, expected, "{name}");
        let (last, map) = (stage(count).unwrap(), graph.value_of(Role::FeatureMap));
        assert_eq!(last.shape, map.unwrap().shape, "{name}");
    }
}

#[test]
fn what_the_files_beside_the_weights_say_is_certain() {
    for (name, file, _) in FOLDERS {
        let model = open(name, file);
        let preprocessing = model.decisions.get("preprocessing").unwrap();
        let silent = ["torchvision", "onnx", "cifar", "detectron"];
        let says = !silent.iter().any(|family| name.starts_with(family));
        let expected = match *name {
            "clip" => Confidence::Inferred,
            _ if says => Confidence::Certain,
            _ => Confidence::Assumed,
        };
        assert_eq!(
            preprocessing.confidence, expected,
            "{name}: {preprocessing}"
        );
        let others = model.decisions.assumed();
        let others: Vec<_> = others
            .filter(|d| d.what != "preprocessing" && !["cifar-a", "detectron"].contains(name))
            .collect();
        assert!(others.is_empty(), "{name}: {others:?}");
    }
    // The script's image processor: 64 pixels, cropped from int(64 / 0.9) = 71.
    let options = ModelOptions::default();
    let path = folder("huggingface").join("model.safetensors");
    let model = model_of(&path, &options).unwrap();
    let rules = &model.preprocess;
    assert_eq!(
        (rules.size, rules.resize),
        ([64, 64], Resize::Cover([71, 71]))
    );
    let labels = model.labels.unwrap();
    let labels: Vec<&str> = labels.iter().collect();
    assert_eq!(labels, ["ant", "bee", "cat", "dog", "eel"], "labels");
    // timm's configuration of resnet50d: 224 pixels, cropped from ⌊224 / 0.875⌋ = 256.
    let path = folder("timm-d").join("model.safetensors");
    let model = model_of(&path, &options).unwrap();
    let rules = &model.preprocess;
    assert_eq!(
        (rules.size, rules.resize),
        ([224, 224], Resize::Cover([256, 256]))
    );
    assert_eq!(model.decisions.get("name").unwrap().value, "resnet50d");
}

#[test]
fn the_other_variant_is_another_network() {
    // A Hugging Face network without the file that states `downsample_in_bottleneck`.
    let weights = std::fs::read(folder("huggingface-v1").join("model.safetensors")).unwrap();
    let golden = golden("huggingface-v1");
    let build = |variant| {
        let mut weights =
            resnet_formats::weights::Weights::from_bytes("model.safetensors", weights.clone())
                .unwrap();
        let mut options = options("huggingface-v1");
        options.variant = variant;
        let network = weights.network(&options).unwrap();
        network.model(&options).unwrap()
    };
    let guessed = build(None);
    assert_eq!(guessed.family, Family::HuggingFace, "family");
    let assumed: Vec<&str> = guessed.decisions.assumed().map(|d| d.what).collect();
    assert_eq!(
        assumed,
        ["stride", "first stage", "preprocessing"],
        "guesses"
    );
    assert!(error_of(&guessed, &golden) > 1e-2, "v1.5 is not v1");
    let error = error_of(&build(Some(Variant::V1)), &golden);
    assert!(error < 1e-5, "v1: {error}");
}

#[test]
fn what_has_no_classifier_has_features_of_its_own() {
    let clip = open("clip", "model.safetensors");
    assert_eq!(clip.family, Family::Clip, "family");
    assert_eq!(clip.classes, None, "no classifier");
    let features = clip.graph.value_of(Role::Features).unwrap();
    assert_eq!(features.name, "attnpool.c_proj", "those that CLIP compares");
    assert_eq!(clip.preprocess, Preprocess::CLIP.with_size([64, 64]));
    let path = folder("clip").join("model.safetensors");
    let free = model_of(&path, &ModelOptions::default()).unwrap();
    assert_eq!(free.size(), [64, 64], "what it has positions for");
    let mut other = ModelOptions::default();
    other.size = Some([96, 96]);
    let error = model_of(&path, &other).unwrap_err().to_string();
    assert!(error.contains("images of 64x64"), "{error}");

    let caffe = open("detectron", "model.pth");
    assert_eq!(caffe.family, Family::Detectron, "family");
    assert_eq!(caffe.preprocess.channels, ChannelOrder::Bgr, "Caffe's");
    let assumed: Vec<&str> = caffe.decisions.assumed().map(|d| d.what).collect();
    assert_eq!(assumed, ["stride", "preprocessing"], "guesses");
    let mut torchvision = options("detectron");
    torchvision.variant = Some(Variant::V1_5);
    let path = folder("detectron").join("model.pth");
    let model = model_of(&path, &torchvision).unwrap();
    assert_eq!(
        model.preprocess.channels,
        ChannelOrder::Rgb,
        "torchvision's"
    );
    assert!(
        error_of(&model, &golden("detectron")) > 1e-2,
        "another stride"
    );
}

#[test]
fn a_config_of_another_network_is_not_believed() {
    let temporary = tempfile::tempdir().unwrap();
    let copy = |from: &str, file: &str| {
        std::fs::copy(folder(from).join(file), temporary.path().join(file)).unwrap();
    };
    copy("timm-c", "model.safetensors");
    let config = r#"{"architecture": "resnet50", "num_classes": 1000, "pretrained_cfg": {}}"#;
    std::fs::write(temporary.path().join("config.json"), config).unwrap();
    let path = temporary.path().join("model.safetensors");
    let model = model_of(&path, &options("timm-c")).unwrap();
    let remark = model.decisions.get("remark").expect("it is said");
    assert!(remark.value.contains("1000 classes, not 5"), "{remark}");
    assert_eq!(
        model.decisions.assumed().count(),
        1,
        "preprocessing is a guess"
    );
}

#[test]
fn settings_that_make_no_sense_are_errors_that_list_all() {
    for (name, settings, expected) in [
        ("torchvision-basic", "stem=1", "'stem': it is no setting"),
        (
            "torchvision-basic",
            "output_stride=x",
            "'output_stride': it is not 'x'",
        ),
        (
            "torchvision-basic",
            "stem_pool=mean",
            "'stem_pool': it is not 'mean'",
        ),
        ("torchvision-basic", "bgr=1", "'bgr': it is not '1'"),
        (
            "torchvision-basic",
            "output_stride=12",
            "'output_stride': it is not '12'",
        ),
        (
            "torchvision-basic",
            "norm_groups=4",
            "'norm_groups': it is not for a network whose normalisations have running statistics",
        ),
        ("cifar-b", "ceil_mode=true", "there is none"),
        (
            "torchvision-basic",
            "anti_alias=gauss",
            "'anti_alias': it is not 'gauss'",
        ),
        (
            "torchvision-basic",
            "global_pool=avgmax",
            "'global_pool': it is not 'avgmax'",
        ),
        (
            "torchvision-head",
            "head_activation=gelu",
            "'head_activation': it is not 'gelu'",
        ),
        (
            "torchvision-basic",
            "head_activation=none",
            "'head_activation': it is for networks with several linear layers",
        ),
    ] {
        let (setting, value) = settings.split_once('=').unwrap();
        let mut options = ModelOptions::default();
        options.settings = BTreeMap::from([(setting.to_owned(), value.to_owned())]);
        let error = model_of(&folder(name).join("model.pth"), &options).unwrap_err();
        let text = error.to_string();
        assert!(
            text.contains(expected) && text.contains("last_stride (1 or 2)"),
            "{text}"
        );
    }
}

#[test]
fn anti_aliasing_that_leaves_no_trace_is_stated_or_named_by_the_file() {
    for (name, kind, file) in [
        ("timm-aa", "average", "resnetaa50_a1h-4cf422b3.safetensors"),
        ("timm-blur", "blur", "timm_resnetblur50.safetensors"),
    ] {
        let own = std::fs::read(folder(name).join("model.safetensors")).unwrap();
        let bare = SafeTensors::deserialize(&own).unwrap();
        let kept = bare.iter().filter(|(name, _)| !name.ends_with(".filt"));
        let bytes = safetensors::serialize(kept, None).unwrap();
        let open = |file: &str, settings: &[(&str, &str)]| {
            let mut options = options(name);
            let settings = settings
                .iter()
                .map(|&(name, value)| (name.to_owned(), value.to_owned()));
            options.settings = settings.collect();
            let network = resnet_formats::from_bytes(file, bytes.clone(), &options)?;
            network.model(&options)
        };
        let stated = open("x.safetensors", &[("anti_alias", kind)]).unwrap();
        assert!(error_of(&stated, &golden(name)) < 2e-5, "{name}: stated");
        let named = open(file, &[]).unwrap();
        assert!(error_of(&named, &golden(name)) < 2e-5, "{name}: named");
        let decision = named.decisions.get("anti-aliasing").unwrap();
        assert_eq!(decision.confidence, Confidence::Assumed, "by a name only");
        let none = open(file, &[("anti_alias", "none")]).unwrap();
        assert!(error_of(&none, &golden(name)) > 1e-3, "{name}: none");
    }
}

#[test]
fn normalisations_without_statistics_are_refused_unless_groups_are_stated() {
    let weights = std::fs::read(folder("timm-gn").join("model.safetensors")).unwrap();
    let open = |settings: &[(&str, &str)]| {
        let mut weights =
            resnet_formats::weights::Weights::from_bytes("model.safetensors", weights.clone())
                .unwrap();
        let stated = settings
            .iter()
            .map(|&(name, value)| (name.to_owned(), value.to_owned()));
        let mut options = options("timm-c");
        options.settings = stated.collect();
        weights.network(&options)?.model(&options)
    };
    let error = open(&[]).unwrap_err().to_string();
    assert!(error.contains("state norm=group"), "{error}");
    let error = open(&[("norm", "group")]).unwrap_err().to_string();
    assert!(
        error.contains("32 groups do not divide 8 channels"),
        "{error}"
    );
    let model = open(&[("norm", "group"), ("norm_groups", "4")]).unwrap();
    let error = error_of(&model, &golden("timm-gn"));
    assert!(error < 1e-5, "{error}");
}

#[test]
fn grey_and_small_networks_are_prepared_as_such() {
    let options = ModelOptions::default();
    let grey = model_of(&folder("torchvision-grey").join("model.pth"), &options).unwrap();
    assert_eq!(grey.preprocess.channels, ChannelOrder::Grey, "luma");
    let small = model_of(&folder("cifar-b").join("model.pth"), &options).unwrap();
    assert_eq!(small.preprocess, Preprocess::CIFAR);
    let assumed = |model: &Model| -> Vec<&str> {
        model
            .decisions
            .assumed()
            .map(|decision| decision.what)
            .collect()
    };
    assert_eq!(assumed(&small), ["preprocessing"]);
    let zeros = model_of(&folder("cifar-a").join("model.pth"), &options).unwrap();
    assert_eq!(assumed(&zeros), ["shortcut", "preprocessing"]);
    let mut stated = options;
    stated.settings = BTreeMap::from([("bgr".to_owned(), "true".to_owned())]);
    let path = folder("torchvision-basic").join("model.pth");
    let bgr = model_of(&path, &stated).unwrap();
    assert_eq!(bgr.preprocess.channels, ChannelOrder::Bgr, "stated");
}

// === Converted files ===

#[test]
fn converted_files_compute_the_same_and_leave_nothing_to_guess() {
    let temporary = tempfile::tempdir().unwrap();
    for (name, file, arch) in FOLDERS {
        let mut original = network(name, file);
        original.facts.preprocess = Preprocess::TORCHVISION.with_size(options(name).size.unwrap());
        let golden = golden(name);
        // Some of these networks of eight channels make more of the rounding of the weights, in PyTorch as
        // well (timm-sk 2.3e-2): a third of it is of what chooses among selective kernels, whose
        // normalisation divides by the small deviation of a mean.
        let sensitive = *name == "timm-blur" || name.starts_with("timm-sk");
        let half = if sensitive { 4e-2 } else { 1e-2 };
        for (weights, limit) in [(WeightsAs::F32, 1e-5), (WeightsAs::F16, half)] {
            let path = temporary.path().join("converted.safetensors");
            resnet_formats::save(&original, &path, weights).unwrap();
            // What was stated is in the file.
            let mut options = options(name);
            options.settings = BTreeMap::new();
            let model = model_of(&path, &options).unwrap();
            assert_eq!(&model.arch, arch, "{name}");
            assert_eq!(model.family, Family::Described, "{name}");
            assert_eq!(model.decisions.assumed().count(), 0, "{name}");
            assert_eq!(model.preprocess, original.facts.preprocess, "{name}");
            assert_eq!(model.labels, original.facts.labels, "{name}");
            let error = error_of(&model, &golden);
            assert!(error < limit, "{name}, {weights:?}: {error}");
        }
    }
}

#[test]
fn integers_are_half_a_step_at_most_from_what_they_stand_for() {
    let temporary = tempfile::tempdir().unwrap();
    let path = temporary.path().join("converted.safetensors");
    for (name, file, _) in FOLDERS {
        let original = network(name, file);
        resnet_formats::save(&original, &path, WeightsAs::Int8).unwrap();
        let mut options = options(name);
        options.settings = BTreeMap::new();
        let read = resnet_formats::open(&path, &options).unwrap();
        for tensor in original.blueprint().tensors() {
            let [from, to] = [&original, &read].map(|network| &network.tensors()[tensor]);
            // Vectors stay as they are.
            let is_matrix = from.dims().len() > 1;
            let channels = if is_matrix { from.dims()[0] } else { 1 };
            let len = from.data().len() / channels;
            for (from, to) in from.data().chunks(len).zip(to.data().chunks(len)) {
                let largest = from.iter().fold(0f32, |max, x| max.max(x.abs()));
                let step = if is_matrix { largest / 127.0 } else { 0.0 };
                let near = |(x, y): (&f32, &f32)| (x - y).abs() <= step * 0.5001;
                assert!(from.iter().zip(to).all(near), "{name}, {tensor}");
            }
        }
    }
}

/// The file with its description as the first version had it: padding of one size instead of a
/// rule.
fn in_first_version(path: &Path) {
    let bytes = std::fs::read(path).unwrap();
    let (_, header) = SafeTensors::read_metadata(&bytes).unwrap();
    let file = SafeTensors::deserialize(&bytes).unwrap();
    let mut metadata = header.metadata().clone().unwrap();
    let text = metadata.get_mut("graph").unwrap();
    // Images of 45x61 become 12x16 after the stem, and 6x8, 3x4 and 2x2 after the later stages.
    let rule = r#"{"sides":[0,0,0,0],"fill":"ceil"}"#;
    for sides in ["[0,0,0,0]", "[0,0,0,0]", "[0,1,0,0]"] {
        *text = text.replacen(rule, sides, 1);
    }
    *text = text.replace(r#""version":2"#, r#""version":1"#);
    let bytes = safetensors::serialize(file.tensors(), Some(metadata)).unwrap();
    std::fs::write(path, bytes).unwrap();
}

#[test]
fn a_converted_network_takes_any_size_and_one_of_the_first_version_those_of_its_padding() {
    let temporary = tempfile::tempdir().unwrap();
    let path = temporary.path().join("converted.safetensors");
    let of_size = |size| {
        let mut options = ModelOptions::default();
        options.size = Some(size);
        options
    };
    // The shortcuts of a D network pool 2×2, with padding after an odd last row or column.
    resnet_formats::save(
        &network("timm-d", "model.safetensors"),
        &path,
        WeightsAs::F32,
    )
    .unwrap();
    let size = [64, 66];
    let original = model_of(&folder("timm-d").join("model.safetensors"), &of_size(size)).unwrap();
    let converted = model_of(&path, &of_size(size)).unwrap();
    assert_eq!(
        converted.graph.to_string(),
        original.graph.to_string(),
        "rules give the padding of another size"
    );

    in_first_version(&path);
    let golden = golden("timm-d");
    let error = error_of(&model_of(&path, &options("timm-d")).unwrap(), &golden);
    assert!(error < 1e-5, "the first version: {error}");
    assert!(
        model_of(&path, &of_size([45 + 32, 61 + 64])).is_ok(),
        "the same left over"
    );
    let error = model_of(&path, &of_size([64, 64])).unwrap_err();
    assert!(error.to_string().contains("45x61"), "{error}");
    // Padding that is equal on both sides is valid for any size.
    resnet_formats::save(
        &network("timm-c", "model.safetensors"),
        &path,
        WeightsAs::F32,
    )
    .unwrap();
    in_first_version(&path);
    assert!(model_of(&path, &of_size([64, 70])).is_ok(), "any");
}

#[test]
fn one_network_gives_models_of_many_batches_and_sizes() {
    let network = network("timm-d", "model.safetensors");
    for (batch, size) in [(1, [45, 61]), (3, [64, 32]), (2, [33, 47])] {
        let mut options = ModelOptions::default();
        options.batch = batch;
        options.size = Some(size);
        let path = folder("timm-d").join("model.safetensors");
        let reopened = model_of(&path, &options).unwrap();
        let model = network.model(&options).unwrap();
        assert_eq!(model.graph.to_string(), reopened.graph.to_string());
        assert_eq!(model.preprocess, reopened.preprocess, "{size:?}");
        assert_eq!(model.decisions, reopened.decisions, "{size:?}");
    }
}

const EPSILON: &str = "\"epsilon\":0.00001";

#[test]
fn descriptions_that_make_no_sense_are_errors() {
    let temporary = tempfile::tempdir().unwrap();
    let path = temporary.path().join("converted.safetensors");
    resnet_formats::save(
        &network("timm-c", "model.safetensors"),
        &path,
        WeightsAs::F32,
    )
    .unwrap();
    let bytes = std::fs::read(&path).unwrap();
    let (_, header) = SafeTensors::read_metadata(&bytes).unwrap();
    let file = SafeTensors::deserialize(&bytes).unwrap();
    let metadata = header.metadata().clone().unwrap();
    let outcome = |key: &str, from: &str, to: &str| {
        let mut metadata = metadata.clone();
        let text = metadata.get_mut(key).unwrap();
        assert!(text.contains(from), "{from}");
        *text = text.replacen(from, to, 1);
        let bytes = safetensors::serialize(file.tensors(), Some(metadata)).unwrap();
        let mut weights = resnet_formats::weights::Weights::from_bytes("x", bytes)?;
        let options = options("timm-d");
        weights.network(&options)?.model(&options)
    };
    for (key, from, to) in [
        ("graph", "{", "["),
        ("graph", r#""version":2"#, r#""version":3"#),
        ("graph", r#""op":"relu""#, r#""op":"gelu""#),
        ("graph", r#""inputs":["input"]"#, r#""inputs":["fc"]"#),
        ("graph", r#""inputs":["input"]"#, r#""inputs":[]"#),
        ("graph", "conv1.0.weight", "no.such.weight"),
        ("graph", "conv1.0.weight", "fc.weight"),
        ("graph", r#""stride":[2,2]"#, r#""stride":[0,2]"#),
        (
            "graph",
            r#""padding":[1,1,1,1]"#,
            r#""padding":[99999999999999999,1,1,1]"#,
        ),
        (
            "graph",
            r#""size":[45,61]"#,
            r#""size":[1,18446744073709551615]"#,
        ),
        ("graph", r#""logits":"fc""#, r#""logits":"maxpool""#),
        ("graph", EPSILON, "\"epsilon\":-1"),
        ("graph", EPSILON, "\"epsilon\":1e99"),
        ("preprocess", "bicubic", "cubic"),
    ] {
        let result = outcome(key, from, to);
        assert!(result.is_err(), "{key}: {from} as {to}");
    }
    assert!(outcome("graph", "", "").is_ok(), "unchanged");
}
