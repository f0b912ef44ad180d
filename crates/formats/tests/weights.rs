//! Weight files: every naming scheme gives the same network, and no file can do harm.

mod fuzz;

use std::collections::HashMap;
use std::path::Path;

use fuzz::Fuzz;
use resnet_formats::WeightsAs;
use resnet_formats::weights::Weights;
use resnet_wgpu::Error;
use resnet_wgpu::internals::network::resnet::{self, Block, Plan, Style};
use resnet_wgpu::internals::network::{Family, TensorSource};
use resnet_wgpu::network::Arch;
use resnet_wgpu::network::{Model, ModelOptions, Variant};
use safetensors::Dtype;
use safetensors::tensor::TensorView;

/// A file in memory: shapes and little-endian bytes by key.
#[derive(Clone, Default)]
struct FileContent {
    tensors: HashMap<String, (Dtype, Vec<usize>, Vec<u8>)>,
    metadata: HashMap<String, String>,
}

impl FileContent {
    fn put(&mut self, key: &str, dims: &[usize], data: &[f32]) {
        let bytes = data.iter().flat_map(|x| x.to_le_bytes()).collect();
        self.tensors
            .insert(key.to_owned(), (Dtype::F32, dims.to_vec(), bytes));
    }

    fn bytes(&self) -> Vec<u8> {
        let views = self.tensors.iter().map(|(key, (dtype, dims, bytes))| {
            let view = TensorView::new(*dtype, dims.clone(), bytes).expect("sizes fit");
            (key.as_str(), view)
        });
        let metadata = (!self.metadata.is_empty()).then(|| self.metadata.clone());
        safetensors::serialize(views, metadata).expect("a valid file")
    }

    fn open(&self) -> Result<Weights, Error> {
        Weights::from_bytes("test.safetensors", self.bytes())
    }
}

/// A bottleneck network with two groups that is quick to build and run.
fn tiny_resnet() -> Plan {
    Plan::scaled(Block::Bottleneck, [1, 2, 1, 1], 8, 5).grouped(2, 32)
}

fn tiny_notebook() -> Plan {
    Plan::lesson(4, 6)
}

fn small(plan: &Plan) -> ModelOptions {
    let size = match plan.style {
        Style::Timm => [64, 72],
        Style::Lesson => [64, 64],
        _ => [32, 40],
    };
    let mut options = ModelOptions::default();
    options.size = Some(size);
    options
}

/// Random parameters by name, with varied running statistics.
fn parameters(plan: &Plan) -> Vec<(String, Vec<usize>, Vec<f32>)> {
    let model = resnet::random(plan, 3, &small(plan))
        .and_then(|network| network.model(&small(plan)))
        .expect("random weights fit everything");
    let params = model.graph.params().iter().enumerate();
    params
        .map(|(number, param)| {
            let shift = number as f32 / 64.0;
            let data = param.tensor.data().iter().map(|x| x + shift).collect();
            (param.name.clone(), param.tensor.dims().to_vec(), data)
        })
        .collect()
}

fn build(weights: &mut Weights, options: &ModelOptions) -> Result<Model, Error> {
    weights.network(options)?.model(options)
}

fn torchvision_file(plan: &Plan) -> FileContent {
    let mut file = FileContent::default();
    for (name, dims, data) in parameters(plan) {
        file.put(&name, &dims, &data);
    }
    file
}

fn hugging_face_file(plan: &Plan) -> FileContent {
    let mut file = FileContent::default();
    for (name, dims, data) in parameters(plan) {
        let path: Vec<&str> = name.split('.').collect();
        let key = match path[..] {
            ["conv1", role] => format!("resnet.embedder.embedder.convolution.{role}"),
            ["bn1", role] => format!("resnet.embedder.embedder.normalization.{role}"),
            ["fc", role] => format!("classifier.1.{role}"),
            [stage, block, ref unit @ .., role] => {
                let stage = stage
                    .replace("layer", "")
                    .parse::<usize>()
                    .expect("a stage")
                    - 1;
                let unit = match unit {
                    ["conv1"] => "layer.0.convolution",
                    ["bn1"] => "layer.0.normalization",
                    ["conv2"] => "layer.1.convolution",
                    ["bn2"] => "layer.1.normalization",
                    ["conv3"] => "layer.2.convolution",
                    ["bn3"] => "layer.2.normalization",
                    ["downsample", "0"] => "shortcut.convolution",
                    ["downsample", "1"] => "shortcut.normalization",
                    other => panic!("{other:?}"),
                };
                format!("resnet.encoder.stages.{stage}.layers.{block}.{unit}.{role}")
            }
            _ => panic!("{name}"),
        };
        file.put(&key, &dims, &data);
    }
    file
}

/// A file with Keras's names and layout; `suffix` is what Keras 2 appends to every name.
fn notebook_file(plan: &Plan, suffix: &str) -> FileContent {
    let mut file = FileContent::default();
    for (name, dims, data) in parameters(plan) {
        let (layer, role) = name.rsplit_once('.').expect("layer.role");
        let norm = layer.starts_with("bn");
        let role = match (norm, role) {
            (false, "weight") => "kernel",
            (false, "bias") => "bias",
            (true, "weight") => "gamma",
            (true, "bias") => "beta",
            (_, "running_mean") => "moving_mean",
            (_, "running_var") => "moving_variance",
            other => panic!("{other:?}"),
        };
        let (dims, data) = match dims[..] {
            [o, i, h, w] => {
                let mut hwio = Vec::new();
                for ky in 0..h {
                    for kx in 0..w {
                        for ci in 0..i {
                            hwio.extend((0..o).map(|co| data[((co * i + ci) * h + ky) * w + kx]));
                        }
                    }
                }
                (vec![h, w, i, o], hwio)
            }
            [o, i] => {
                let reversed = (0..i).flat_map(|ci| (0..o).map(move |co| co * i + ci));
                (vec![i, o], reversed.map(|index| data[index]).collect())
            }
            _ => (dims, data),
        };
        file.put(&format!("{layer}/{role}{suffix}"), &dims, &data);
    }
    file
}

/// Builds the network that a file describes and compares every parameter.
fn assert_round_trip(plan: &Plan, file: &FileContent, family: Family) {
    let mut weights = file.open().expect("recognised");
    assert_eq!(weights.family(), family, "family");
    let model = build(&mut weights, &small(plan)).expect("built");
    assert_eq!(model.plan.as_ref(), Some(plan), "the plan is inferred");
    let expected = parameters(plan);
    assert_eq!(model.graph.params().len(), expected.len(), "parameters");
    for (param, (name, dims, data)) in model.graph.params().iter().zip(&expected) {
        assert_eq!(param.name, *name, "order and name");
        assert_eq!(param.tensor.dims(), dims, "{name}");
        assert!(param.tensor.data() == data, "{name}: other numbers");
    }
}

#[test]
fn torchvision_names_give_the_network_with_and_without_counters_and_prefix() {
    let plan = tiny_resnet();
    let mut file = torchvision_file(&plan);
    assert_round_trip(&plan, &file, Family::Torchvision);

    let counters: Vec<String> = file
        .tensors
        .keys()
        .filter_map(|key| key.strip_suffix("running_mean"))
        .map(|layer| format!("{layer}num_batches_tracked"))
        .collect();
    for counter in counters {
        let one = 1i64.to_le_bytes().to_vec();
        file.tensors.insert(counter, (Dtype::I64, Vec::new(), one));
    }
    assert_round_trip(&plan, &file, Family::Torchvision);

    let prefixed = FileContent {
        tensors: file
            .tensors
            .into_iter()
            .map(|(key, tensor)| (format!("module.{key}"), tensor))
            .collect(),
        ..FileContent::default()
    };
    assert_round_trip(&plan, &prefixed, Family::Torchvision);
}

#[test]
fn basic_blocks_and_wide_bottlenecks_are_inferred() {
    for plan in [
        Plan::scaled(Block::Basic, [2, 1, 1, 2], 8, 3),
        Plan::scaled(Block::Bottleneck, [1, 1, 1, 1], 8, 3).grouped(1, 128),
    ] {
        assert_round_trip(&plan, &torchvision_file(&plan), Family::Torchvision);
    }
}

#[test]
fn hugging_face_names_give_the_network_with_and_without_prefix() {
    let plan = tiny_resnet();
    let file = hugging_face_file(&plan);
    assert_round_trip(&plan, &file, Family::HuggingFace);
    let bare = FileContent {
        tensors: file
            .tensors
            .into_iter()
            .map(|(key, tensor)| (key.replacen("resnet.", "", 1), tensor))
            .collect(),
        ..FileContent::default()
    };
    assert_round_trip(&plan, &bare, Family::HuggingFace);
}

#[test]
fn keras_names_give_the_notebook_network_with_and_without_suffix() {
    let plan = tiny_notebook();
    for suffix in ["", ":0"] {
        assert_round_trip(&plan, &notebook_file(&plan, suffix), Family::Notebook);
    }
}

#[test]
fn halves_and_doubles_are_read_and_integers_refused() {
    let plan = tiny_resnet();
    let mut file = torchvision_file(&plan);
    let (_, dims, _) = file.tensors["fc.bias"].clone();
    let values = [0.5f32, -1.25, 3.0, 0.0, 65504.0];
    let halves = values
        .iter()
        .flat_map(|&v| half::f16::from_f32(v).to_le_bytes());
    file.tensors.insert(
        "fc.bias".to_owned(),
        (Dtype::F16, dims.clone(), halves.collect()),
    );
    let mut weights = file.open().expect("recognised");
    let bias = weights.take("fc.bias", &[5]).expect("f16");
    assert_eq!(bias.data(), values, "widened");

    let doubles = values.iter().flat_map(|&v| f64::from(v).to_le_bytes());
    file.tensors.insert(
        "fc.bias".to_owned(),
        (Dtype::F64, dims.clone(), doubles.collect()),
    );
    let mut weights = file.open().expect("recognised");
    let bias = weights.take("fc.bias", &[5]).expect("f64");
    assert_eq!(bias.data(), values, "narrowed");

    for (dtype, bytes) in [(Dtype::I32, 4), (Dtype::I64, 8), (Dtype::U8, 1)] {
        let zeros = vec![0; 5 * bytes];
        file.tensors
            .insert("fc.bias".to_owned(), (dtype, dims.clone(), zeros));
        let result = build(&mut file.open().expect("opens"), &small(&plan));
        assert!(
            matches!(&result, Err(Error::WeightType { name, .. }) if name == "fc.bias"),
            "{dtype:?}: {result:?}"
        );
    }
}

/// Changes a good file and returns the error of building its network.
#[track_caller]
fn error_after(file: &FileContent, plan: &Plan, change: impl FnOnce(&mut FileContent)) -> Error {
    let mut file = file.clone();
    change(&mut file);
    file.open()
        .and_then(|mut weights| build(&mut weights, &small(plan)))
        .map(|model| model.arch)
        .expect_err("the file was spoilt")
}

#[test]
fn tensors_that_are_missing_misshapen_superfluous_or_not_finite_are_named() {
    let plan = tiny_resnet();
    let file = torchvision_file(&plan);

    let error = error_after(&file, &plan, |file| {
        file.tensors.remove("layer2.1.bn3.running_var");
    });
    assert!(
        matches!(&error, Error::WeightMissing { name, expected }
            if name == "layer2.1.bn3.running_var" && expected == &[64]),
        "{error}"
    );

    // Not in the first block, which the widths of the stage are read from.
    let error = error_after(&file, &plan, |file| {
        file.put("layer2.1.conv1.weight", &[1, 64, 1, 1], &[0.0; 64]);
    });
    assert!(
        matches!(&error, Error::WeightShape { name, expected, got }
            if name == "layer2.1.conv1.weight" && expected == &[16, 64, 1, 1]
                && got == &[1, 64, 1, 1]),
        "{error}"
    );

    let error = error_after(&file, &plan, |file| {
        file.put("head.weight", &[2], &[0.0; 2]);
        file.put("another", &[2], &[0.0; 2]);
    });
    assert!(
        matches!(&error, Error::WeightsUnused { count: 2, first } if first == "another"),
        "{error}"
    );

    for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        let error = error_after(&file, &plan, |file| {
            file.put("fc.bias", &[5], &[0.0, 0.0, 0.0, bad, 0.0]);
        });
        assert!(
            matches!(&error, Error::WeightNotFinite { name, index: 3, .. } if name == "fc.bias"),
            "{error}"
        );
    }
}

#[test]
fn shapes_of_keras_files_are_reported_in_their_own_order() {
    let plan = tiny_notebook();
    let file = notebook_file(&plan, ":0");
    let error = error_after(&file, &plan, |file| {
        file.put("res3b_branch2b/kernel:0", &[3, 3, 8, 1], &[0.0; 72]);
    });
    assert!(
        matches!(&error, Error::WeightShape { name, expected, got }
            if name == "res3b_branch2b/kernel:0" && expected == &[3, 3, 8, 8]
                && got == &[3, 3, 8, 1]),
        "{error}"
    );
}

#[test]
fn relatives_of_the_notebook_are_not_taken_for_it() {
    let plan = tiny_notebook();
    let file = notebook_file(&plan, "");
    let error = error_after(&file, &plan, |file| {
        file.tensors
            .retain(|key, _| !key.starts_with("res") || !key.ends_with("/bias"));
        file.tensors.remove("conv1/bias");
    });
    assert!(error.to_string().contains("no biases"), "{error}");

    // Keras's own ResNet-50 has these names, 1000 classes and a global average.
    let plan = Plan::lesson(4, 1000);
    let file = notebook_file(&plan, "");
    let error = error_after(&file, &plan, |_| ());
    assert!(error.to_string().contains("Keras"), "{error}");
    let mut declared = file;
    declared
        .metadata
        .insert("family".to_owned(), "notebook".to_owned());
    assert_round_trip(&plan, &declared, Family::Notebook);
}

#[test]
fn metadata_decides_epsilon_labels_and_preprocessing() {
    let plan = tiny_resnet();
    let mut file = torchvision_file(&plan);
    for (key, text) in [
        ("epsilon", "2e-4"),
        ("classes", "a, b,c,d,e"),
        ("preprocess", "keras-tf"),
    ] {
        file.metadata.insert(key.to_owned(), text.to_owned());
    }
    let mut weights = file.open().expect("recognised");
    let model = build(&mut weights, &ModelOptions::default()).expect("built");
    let labels = model.labels.as_ref().expect("labels");
    assert_eq!(labels.iter().collect::<Vec<_>>(), ["a", "b", "c", "d", "e"]);
    assert_eq!(model.preprocess.mean, [0.5; 3], "keras-tf");
    assert!(
        model
            .decisions
            .iter()
            .any(|d| d.what == "epsilon" && d.value == "2e-4"),
        "{:?}",
        model.decisions
    );

    let error = error_after(&file, &plan, |file| {
        file.metadata.insert("epsilon".to_owned(), "-1".to_owned());
    });
    assert!(error.to_string().contains("epsilon '-1'"), "{error}");
}

#[test]
fn options_that_contradict_the_file_are_refused() {
    let plan = tiny_resnet();
    let file = torchvision_file(&plan);
    for (arch, options) in [
        (Some(Arch::ResNet50), ModelOptions::default()),
        (None, {
            let mut options = ModelOptions::default();
            options.classes = Some(1000);
            options
        }),
    ] {
        let mut options = options;
        options.arch = arch;
        let result = build(&mut file.open().expect("opens"), &options);
        assert!(matches!(result, Err(Error::Model { .. })), "{result:?}");
    }
    let mut options = small(&plan);
    options.variant = Some(Variant::V1);
    let model = build(&mut file.open().expect("opens"), &options).expect("v1");
    let first = model.graph.find("layer2.0.conv1").expect("exists");
    assert_eq!(
        model.graph.get(first).unwrap().shape.dims(),
        [1, 16, 4, 5],
        "strides first"
    );
}

// === Hostile files ===

fn refused(bytes: &[u8]) -> String {
    match Weights::from_bytes("hostile", bytes) {
        Err(error @ (Error::WeightsUnreadable { .. } | Error::WeightsUnrecognised { .. })) => {
            error.to_string()
        }
        other => panic!("{other:?}"),
    }
}

/// A file with this JSON header followed by `zeros` zero bytes.
fn with_header(header: &str, zeros: usize) -> Vec<u8> {
    let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
    bytes.extend(header.bytes());
    bytes.resize(bytes.len() + zeros, 0);
    bytes
}

#[test]
fn damaged_headers_are_errors() {
    let conv = "layer1.0.conv1.weight";
    for (what, bytes) in [
        ("empty", Vec::new()),
        ("four bytes", vec![1, 2, 3, 4]),
        ("length only", 16u64.to_le_bytes().to_vec()),
        ("endless header", u64::MAX.to_le_bytes().to_vec()),
        ("header of 64 MiB", (64u64 << 20).to_le_bytes().to_vec()),
        ("not JSON", with_header("no json at all", 0)),
        (
            "not UTF-8",
            [&4u64.to_le_bytes()[..], b"{\xff\xfe}"].concat(),
        ),
        ("no tensor", with_header("{}", 0)),
        (
            "data too short",
            with_header(
                &format!(r#"{{"{conv}":{{"dtype":"F32","shape":[4],"data_offsets":[0,16]}}}}"#),
                15,
            ),
        ),
        (
            "data too long",
            with_header(
                &format!(r#"{{"{conv}":{{"dtype":"F32","shape":[4],"data_offsets":[0,16]}}}}"#),
                17,
            ),
        ),
        (
            "range is not the shape",
            with_header(
                &format!(r#"{{"{conv}":{{"dtype":"F32","shape":[5],"data_offsets":[0,16]}}}}"#),
                16,
            ),
        ),
        (
            "range is backwards",
            with_header(
                &format!(r#"{{"{conv}":{{"dtype":"F32","shape":[4],"data_offsets":[16,0]}}}}"#),
                16,
            ),
        ),
        (
            "sizes overflow",
            with_header(
                &format!(
                    r#"{{"{conv}":{{"dtype":"F32","shape":[4294967296,4294967296,4294967296],"data_offsets":[0,16]}}}}"#
                ),
                16,
            ),
        ),
        (
            "empty tensor of astronomic sizes",
            with_header(
                &format!(
                    r#"{{"{conv}":{{"dtype":"F32","shape":[1152921504606846976,0,7,7],"data_offsets":[0,0]}}}}"#
                ),
                0,
            ),
        ),
        (
            "overlap",
            with_header(
                r#"{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},"b":{"dtype":"F32","shape":[2],"data_offsets":[4,12]}}"#,
                12,
            ),
        ),
        (
            "hole",
            with_header(
                r#"{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},"b":{"dtype":"F32","shape":[2],"data_offsets":[12,20]}}"#,
                20,
            ),
        ),
        (
            "unknown type",
            with_header(
                &format!(r#"{{"{conv}":{{"dtype":"F31","shape":[4],"data_offsets":[0,16]}}}}"#),
                16,
            ),
        ),
        (
            "negative size",
            with_header(
                &format!(r#"{{"{conv}":{{"dtype":"F32","shape":[-4],"data_offsets":[0,16]}}}}"#),
                16,
            ),
        ),
        ("deep nesting", with_header(&"[".repeat(100_000), 0)),
    ] {
        assert!(!refused(&bytes).is_empty(), "{what}");
    }
}

#[test]
fn every_truncation_and_every_flipped_header_byte_is_an_error_or_harmless() {
    let plan = Plan::scaled(Block::Basic, [1, 1, 1, 1], 1, 2);
    let good = torchvision_file(&plan).bytes();
    let header = 8 + usize::from(good[0]) + 256 * usize::from(good[1]);
    for length in (0..header)
        .step_by(7)
        .chain([good.len() - 1, good.len() / 2])
    {
        refused(&good[..length]);
    }
    for position in 0..header.min(2000) {
        for flip in [0x01, 0x04, 0x80] {
            let mut bytes = good.clone();
            bytes[position] ^= flip;
            // Some flips only rename a tensor or change the type of a float. All that matters is
            // that nothing panics.
            if let Ok(mut weights) = Weights::from_bytes("flipped", bytes) {
                let _ = build(&mut weights, &small(&plan));
            }
        }
    }
}

#[test]
fn spoilt_files_are_results_not_panics() {
    let folder = tempfile::tempdir().expect("a folder");
    let described = folder.path().join("described.safetensors");
    let resnet = tiny_resnet();
    let mut weights = torchvision_file(&resnet).open().expect("opened");
    let network = weights.network(&small(&resnet)).expect("built");
    resnet_formats::save(&network, &described, WeightsAs::F16).expect("saved");
    let notebook = tiny_notebook();
    let files = [
        std::fs::read(&described).expect("read"),
        torchvision_file(&resnet).bytes(),
        hugging_face_file(&resnet).bytes(),
        notebook_file(&notebook, ":0").bytes(),
    ];
    let build = |bytes: Vec<u8>| {
        let mut weights = Weights::from_bytes("test.safetensors", bytes)?;
        build(&mut weights, &ModelOptions::default())
    };
    let mut errors = 0;
    let mut fuzz = Fuzz::new(2_000);
    while fuzz.next_round() {
        let number = fuzz.below(files.len());
        let spoilt = fuzz.spoil(&files[number], b"{}[]\":,.0123456789-ebFBI6ntul\\");
        errors += u64::from(build(spoilt).is_err());
    }
    // Most bytes belong to weights, where damage goes unnoticed.
    let done = fuzz.done();
    assert!(
        errors > done / 10 && errors < done,
        "{errors} of {done} were refused"
    );
}

#[test]
fn an_entry_is_refused_where_there_is_one_network() {
    let folder = tempfile::tempdir().expect("a folder");
    let described = folder.path().join("described.safetensors");
    let plan = tiny_resnet();
    let plain = torchvision_file(&plan);
    let network = plain
        .open()
        .and_then(|mut weights| weights.network(&small(&plan)));
    let network = network.expect("built");
    resnet_formats::save(&network, &described, WeightsAs::F32).expect("saved");
    let mut options = small(&plan);
    options.entry = Some("encoder_q".to_owned());
    let of_description = resnet_formats::open(&described, &options);
    let of_names = resnet_formats::from_bytes("plain", plain.bytes(), &options);
    let of_nothing = Arch::ResNet18.random(0, &options);
    for refused in [of_description, of_names, of_nothing] {
        let message = refused.expect_err("refused").to_string();
        assert!(message.contains("'encoder_q'"), "{message}");
    }
}

#[test]
fn other_formats_and_paths_say_what_to_do() {
    let folder = tempfile::tempdir().expect("a folder");
    let open = |path: &Path| Weights::open(path).expect_err("refused").to_string();
    let path = folder.path().join("resnet50.pth");
    std::fs::write(&path, b"PK\x03\x04 and so on").expect("written");
    let message = open(&path);
    assert!(message.contains("PyTorch"), "{message}");
    let path = folder.path().join("config.json");
    std::fs::write(&path, b"{\"model_type\": \"resnet\"}").expect("written");
    assert!(open(&path).contains("weight_map"), "{}", open(&path));
    let path = folder.path().join("model.h5");
    std::fs::write(&path, b"\x89HDF\r\n\x1a\n....").expect("written");
    assert!(open(&path).contains("HDF5"), "{}", open(&path));
    let path = folder.path().join("empty.safetensors");
    std::fs::write(&path, b"").expect("written");
    assert!(open(&path).contains("empty"), "{}", open(&path));
    assert!(
        open(folder.path()).contains("folder"),
        "{}",
        open(folder.path())
    );
    let missing = folder.path().join("missing.safetensors");
    assert!(
        matches!(Weights::open(&missing), Err(Error::Io { .. })),
        "missing file"
    );
}

#[test]
fn a_file_on_disk_is_read_and_one_that_shrinks_is_an_error() {
    let plan = tiny_resnet();
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("tiny.safetensors");
    std::fs::write(&path, torchvision_file(&plan).bytes()).expect("written");
    let mut weights = Weights::open(&path).expect("opened");
    assert_eq!(weights.path(), path, "path");
    build(&mut weights, &small(&plan)).expect("built");
    weights.finish().expect("nothing is left");

    let mut weights = Weights::open(&path).expect("opened");
    let file = std::fs::File::options().write(true).open(&path);
    let length = std::fs::metadata(&path).expect("there").len();
    file.and_then(|file| file.set_len(length / 2))
        .expect("cut off");
    let error = build(&mut weights, &small(&plan)).expect_err("cut off");
    let text = error.to_string();
    assert!(matches!(error, Error::WeightsUnreadable { .. }), "{text}");
    assert!(text.contains("became shorter while it was read"), "{text}");
    assert!(text.contains("tiny.safetensors"), "{text}");
}

// === Shards ===

/// A network in two files and their index, for tests to damage.
struct Shards {
    folder: tempfile::TempDir,
    parts: [FileContent; 2],
    index: HashMap<String, String>,
}

const SHARDS: [&str; 2] = [
    "model-00001-of-00002.safetensors",
    "model-00002-of-00002.safetensors",
];

impl Shards {
    fn new() -> Self {
        let mut shards = Self {
            folder: tempfile::tempdir().expect("a folder"),
            parts: [FileContent::default(), FileContent::default()],
            index: HashMap::new(),
        };
        for (number, (name, dims, data)) in parameters(&tiny_resnet()).iter().enumerate() {
            shards.parts[number % 2].put(name, dims, data);
            let file = SHARDS[number % 2].to_owned();
            shards.index.insert(name.clone(), file);
        }
        shards
    }

    fn open(&self) -> Result<Weights, Error> {
        for (name, part) in SHARDS.iter().zip(&self.parts) {
            std::fs::write(self.folder.path().join(name), part.bytes()).expect("written");
        }
        self.open_written()
    }

    fn open_written(&self) -> Result<Weights, Error> {
        let path = self.folder.path().join("model.safetensors.index.json");
        let index = serde_json::json!({
            "metadata": { "total_size": 0 },
            "weight_map": self.index,
        });
        std::fs::write(&path, index.to_string()).expect("written");
        Weights::open(path)
    }

    fn refused(&self) -> String {
        self.open().expect_err("refused").to_string()
    }
}

#[test]
fn shards_give_the_network_of_one_file() {
    let shards = Shards::new();
    let mut weights = shards.open().expect("opened");
    assert_eq!(weights.format(), "2 shards of safetensors", "format");
    let plan = tiny_resnet();
    let model = build(&mut weights, &small(&plan)).expect("built");
    for (param, (name, _, data)) in model.graph.params().iter().zip(parameters(&plan)) {
        assert_eq!(param.name, name, "order");
        assert!(param.tensor.data() == data, "{name}: other numbers");
    }
}

#[test]
fn shards_that_are_missing_foreign_or_elsewhere_are_errors() {
    let error = Shards::new().open_written().expect_err("no shards");
    assert!(
        error.to_string().contains(SHARDS[0]) && error.to_string().contains("download"),
        "{error}"
    );

    let mut shards = Shards::new();
    shards.parts[1].tensors.remove("fc.bias");
    shards.parts[0].tensors.remove("fc.bias");
    assert!(shards.refused().contains("lacks tensor 'fc.bias'"), "lacks");

    let mut shards = Shards::new();
    shards.index.remove("fc.bias");
    assert!(
        shards.refused().contains("not name tensor 'fc.bias'"),
        "extra"
    );

    for escape in ["../model.safetensors", "/etc/passwd", "..", "sub/x", ""] {
        let mut shards = Shards::new();
        let tensor = "fc.bias".to_owned();
        shards.index.insert(tensor, escape.to_owned());
        assert!(
            shards.refused().contains("beside the index"),
            "{escape}: {}",
            shards.refused()
        );
    }

    // An index that lists itself is not followed.
    let mut shards = Shards::new();
    for file in shards.index.values_mut() {
        *file = "model.safetensors.index.json".to_owned();
    }
    assert!(shards.refused().contains("JSON"), "{}", shards.refused());
}
