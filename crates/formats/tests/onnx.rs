//! ONNX files: small networks against ONNX Runtime, and files that are damaged or make no sense.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod fuzz;
mod write;

use fuzz::Fuzz;
use resnet_formats::onnx;
use resnet_wgpu::Error;
use resnet_wgpu::graph::Role;
use resnet_wgpu::internals::graph::{
    Flatten, FlattenOrder, MaxPool, Op, PadValue, Padding, Softmax,
};
use resnet_wgpu::internals::network::Family;
use resnet_wgpu::internals::reference;
use resnet_wgpu::network::Arch;
use resnet_wgpu::network::{self, Model, ModelOptions};
use resnet_wgpu::passes::{Fusion, optimize};
use resnet_wgpu::tensor::Tensor;
use serde::Deserialize;

/// The file that `scripts/make_onnx_fixtures.py` writes.
#[derive(Deserialize)]
struct Expected {
    cases: Vec<Case>,
}

#[derive(Deserialize)]
struct Case {
    name: String,
    batch: usize,
    size: [usize; 2],
    /// Whether the file computes in 16-bit floats.
    half: bool,
    /// Whether its pixels are 0 to 255.
    bytes: bool,
    /// The kind of output: logits, probabilities, their logarithms, or features.
    compare: String,
    classes: usize,
    output: Vec<f32>,
}

fn path(name: &str) -> String {
    format!("{}/tests/data/onnx/{name}", env!("CARGO_MANIFEST_DIR"))
}

fn cases() -> Vec<Case> {
    let json = std::fs::read_to_string(path("expected.json")).unwrap();
    let expected: Expected = serde_json::from_str(&json).unwrap();
    expected.cases
}

fn bytes(name: &str) -> Vec<u8> {
    std::fs::read(path(&format!("{name}.onnx"))).unwrap()
}

fn load(name: &str, options: &ModelOptions) -> Model {
    let network = resnet_formats::open(path(&format!("{name}.onnx")), options).unwrap();
    network.model(options).unwrap()
}

/// Numbers from the script's generator.
fn numbers(dims: &[usize]) -> Tensor {
    let mut state = 1u64;
    Tensor::from_fn(dims, |_| {
        state = (state * 1_103_515_245 + 12_345) & 0x7fff_ffff;
        let byte = u8::try_from(state >> 16 & 255).unwrap();
        f32::from(byte) / 127.5 - 1.0
    })
}

fn options(case: &Case) -> ModelOptions {
    let mut options = ModelOptions::default();
    options.batch = case.batch;
    options.size = Some(case.size);
    options
}

#[test]
fn outputs_are_those_of_onnx_runtime() {
    let cases = cases();
    assert_eq!(cases.len(), 23, "all cases are there");
    for case in cases {
        let name = &case.name;
        let model = load(name, &options(&case));
        let [h, w] = case.size;
        let mut input = numbers(&[case.batch, 3, h, w]);
        if case.bytes {
            let data = input.data();
            input = Tensor::from_fn(input.dims(), |i| ((data[i] + 1.0) * 127.5).round());
        }
        let activations = reference::run(&model.graph, &[input]).unwrap();
        let role = match case.compare.as_str() {
            "logits" => Role::Logits,
            "features" => Role::Features,
            _ => Role::Probabilities,
        };
        let got = activations.get(model.graph.role(role).unwrap()).unwrap();
        assert_eq!(got.len(), case.output.len(), "{name}: length");
        let tolerance = if case.half { 5e-3 } else { 1e-5 };
        for (i, (&got, want)) in got.data().iter().zip(&case.output).enumerate() {
            let got = if case.compare == "log-softmax" {
                got.ln()
            } else {
                got
            };
            assert!(
                (got - want).abs() <= tolerance * (1.0 + want.abs()),
                "{name}: output {i} is {got}, ONNX Runtime has {want}"
            );
        }
        assert_eq!(model.family, Family::Onnx, "{name}");
        let classes = (role != Role::Features).then_some(case.classes);
        assert_eq!(model.classes, classes, "{name}");
    }
}

#[test]
fn geometry_comes_from_the_attributes() {
    let ops = |name: &str, size| {
        let mut options = ModelOptions::default();
        options.size = Some(size);
        let model = load(name, &options);
        model
            .graph
            .nodes()
            .iter()
            .map(|node| node.op)
            .collect::<Vec<_>>()
    };
    let same = ops("same-upper", [30, 27]);
    assert!(
        matches!(same[0], Op::Conv2d(conv) if conv.padding == Padding {
            top: 2, bottom: 3, left: 3, right: 3
        }),
        "SAME_UPPER: {:?}",
        same[0]
    );
    let padded = ops("pad-max-pool", [29, 26]);
    assert!(
        matches!(padded[0], Op::Conv2d(conv) if conv.bias.is_some() && conv.padding == Padding {
            top: 3, bottom: 4, left: 3, right: 1
        }),
        "Pad, pads and Add: {:?}",
        padded[0]
    );
    assert!(
        matches!(padded[1], Op::MaxPool(MaxPool { window, pad_value: PadValue::Zero })
            if window.padding == Padding::all(1)),
        "zeros that can win: {:?}",
        padded[1]
    );
    let last = ops("channels-last", [12, 9]);
    assert!(
        last.contains(&Op::Flatten(Flatten {
            order: FlattenOrder::Hwc
        })),
        "a Flatten of NHWC: {last:?}"
    );
}

#[test]
fn notable_values_and_names_are_found() {
    let model = load("bottleneck-v1.5", &ModelOptions::default());
    let graph = &model.graph;
    assert_eq!(model.size(), [224, 224], "the usual size");
    assert_eq!(
        graph.value_of(Role::Logits).unwrap().name,
        "fc",
        "name of the node"
    );
    assert_eq!(
        graph.value_of(Role::Features).unwrap().shape.dims(),
        [1, 8, 1, 1],
        "features"
    );
    assert_eq!(
        graph.value_of(Role::FeatureMap).unwrap().shape.dims(),
        [1, 8, 28, 28],
        "feature map"
    );
    assert!(graph.find("stem").is_ok(), "a node with a name");
    assert!(graph.find("v2").is_ok(), "a node with a result only");
    assert!(
        model
            .decisions
            .iter()
            .any(|d| d.what == "preprocessing" && d.confidence == network::Confidence::Assumed),
        "preprocessing is assumed: {:?}",
        model.decisions
    );
    // All weights except running statistics, counted by the shapes in the script.
    let convolutions = 4 * 3 * 49 + 16 + 4 * 2 * 9 + 32 + 32;
    let norms = 2 * (4 + 4 + 4 + 8 + 8);
    assert_eq!(model.parameter_count(), convolutions + norms + 45, "count");
}

#[test]
fn sizes_and_batches_are_those_asked_for_else_those_of_the_file() {
    assert_eq!(
        load("mxnet-v1", &ModelOptions::default()).size(),
        [13, 10],
        "fixed in the file"
    );
    let mut other = ModelOptions::default();
    other.batch = 3;
    other.size = Some([40, 24]);
    other.softmax = false;
    let model = load("mxnet-v1", &other);
    assert_eq!(
        model.graph.value_of(Role::Image).unwrap().shape.dims(),
        [3, 3, 40, 24],
        "asked for"
    );
    assert_eq!(model.graph.role(Role::Probabilities), None, "left out");
    assert!(
        !model
            .graph
            .nodes()
            .iter()
            .any(|node| node.op == Op::Softmax(Softmax)),
        "no node either"
    );
    // `Reshape [1, 4]` is for the batch size of the file; another takes its place.
    let mut two = ModelOptions::default();
    two.batch = 2;
    let model = load("caffe2", &two);
    assert_eq!(
        model.graph.value_of(Role::Logits).unwrap().shape.dims(),
        [2, 5, 1, 1],
        "batch"
    );
}

#[test]
fn what_does_not_fit_the_file_is_refused() {
    let mut options = ModelOptions::default();
    options.classes = Some(6);
    let open = |arch, options: &ModelOptions| {
        let mut options = options.clone();
        options.arch = arch;
        resnet_formats::open(path("fused.onnx"), &options)
    };
    assert!(
        matches!(open(None, &options), Err(Error::Model { .. })),
        "classes"
    );
    options.classes = Some(5);
    assert!(open(None, &options).is_ok(), "the right number");
    assert!(
        matches!(
            open(Some(Arch::ResNet50), &options),
            Err(Error::Model { .. })
        ),
        "an architecture"
    );
    options.variant = Some(network::Variant::V1);
    assert!(
        matches!(open(None, &options), Err(Error::Model { .. })),
        "a stride"
    );
    options.variant = None;
    options.size = Some([1 << 20, 224]);
    assert!(
        matches!(open(None, &options), Err(Error::Preprocess { .. })),
        "a size"
    );
}

use write::{attribute, ints, node, tensor, text};

fn import(file: &[u8]) -> Result<Model, Error> {
    let options = ModelOptions::default();
    onnx::from_bytes("made.onnx", file, &options)?.model(&options)
}

#[track_caller]
fn assert_refused(parts: &[Vec<u8>], expected: &str) {
    let error = import(&write::model(parts)).expect_err(expected);
    let text = error.to_string();
    assert!(
        text.contains(expected),
        "expected '{expected}', got: {text}"
    );
}

#[test]
fn an_operator_that_is_not_supported_is_named_with_its_node() {
    let error = import(&write::model(&[node("LSTM", &["x"], "y", &[])]));
    assert!(
        matches!(&error, Err(Error::Operator { node, op, .. })
            if node == "same name" && op == "LSTM"),
        "{error:?}"
    );
    let w = tensor("w", &[4, 3, 3, 3], &[]);
    let conv = |attributes: &[Vec<u8>]| node("Conv", &["x", "w"], "y", attributes);
    for (parts, expected) in [
        (
            vec![conv(&[ints("dilations", &[0, 2])]), w.clone()],
            "dilations",
        ),
        (
            vec![conv(&[ints("strides", &[0, 1])]), w.clone()],
            "no sense",
        ),
        (
            vec![conv(&[ints("strides", &[-1, 1])]), w.clone()],
            "strides",
        ),
        (vec![conv(&[ints("pads", &[1, 1])]), w.clone()], "pads"),
        (
            vec![conv(&[ints("pads", &[0, 0, 1 << 60, 0])]), w.clone()],
            "pads",
        ),
        (vec![conv(&[text("auto_pad", "MAYBE")]), w.clone()], "MAYBE"),
        (vec![conv(&[attribute("group", -1)]), w.clone()], "groups"),
        (
            vec![conv(&[ints("group", &[1])]), w.clone()],
            "another type",
        ),
        (
            vec![conv(&[ints("kernel_shape", &[5, 5])]), w.clone()],
            "kernel_shape",
        ),
        (vec![conv(&[attribute("group", 0)]), w.clone()], "groups"),
        (vec![conv(&[attribute("group", 2)]), w.clone()], "groups"),
        (vec![node("Clip", &["x"], "y", &[])], "clamping"),
        (
            vec![node("Transpose", &["x"], "y", &[ints("perm", &[0, 1])])],
            "perm",
        ),
        (
            vec![node("Flatten", &["x"], "y", &[attribute("axis", 0)])],
            "axis 0",
        ),
        (
            vec![node("Flatten", &["x"], "y", &[attribute("axis", i64::MIN)])],
            "no axis",
        ),
        (vec![node("Softmax", &["x"], "y", &[])], "along axis"),
        (
            vec![node(
                "MaxPool",
                &["x"],
                "y",
                &[ints("kernel_shape", &[2, 2]), ints("dilations", &[2, 2])],
            )],
            "dilations of a pool",
        ),
        (
            vec![node("MaxPool", &["x"], "y", &[])],
            "kernel_shape is missing",
        ),
        (vec![node("Sum", &["x", "x", "x"], "y", &[])], "3 inputs"),
        (vec![node("Add", &["x"], "y", &[])], "input 1 is missing"),
        (vec![node("Relu", &["w"], "y", &[]), w.clone()], "0 inputs"),
        (
            vec![node("Relu", &["x"], "y", &[])],
            "neither scores nor features",
        ),
        (
            vec![node("Conv", &["x", "x"], "y", &[])],
            "must be a constant",
        ),
    ] {
        assert_refused(&parts, expected);
    }
}

#[test]
fn graphs_that_are_no_graphs_are_refused() {
    let w = tensor("w", &[4, 3, 8, 8], &[]);
    let conv = node("Conv", &["x", "w"], "y", &[]);
    let file = write::model(&[conv.clone(), w.clone()]);
    let model = import(&file).unwrap();
    assert_eq!(
        model.graph.nodes().len(),
        1,
        "the file that the others are made of"
    );

    assert_refused(
        &[
            node("Add", &["x", "b"], "a", &[]),
            node("Relu", &["a"], "b", &[]),
            node("Flatten", &["b"], "y", &[]),
        ],
        "in a cycle",
    );
    assert_refused(&[node("Relu", &["y"], "y", &[])], "in a cycle");
    assert_refused(std::slice::from_ref(&conv), "'w', which is neither");
    assert_refused(
        &[conv.clone(), w.clone(), w.clone()],
        "two tensors are called 'w'",
    );
    assert_refused(&[conv.clone(), conv.clone(), w.clone()], "computed twice");
    assert_refused(&[node("Relu", &["x"], "x", &[])], "computed twice");
    assert_refused(std::slice::from_ref(&w), "no node computes");
    assert_refused(
        &[
            write::bytes(11, write::bytes(1, "z")),
            node("Add", &["x", "z"], "y", &[]),
        ],
        "2 inputs (z, x)",
    );

    let external = tensor("w", &[1], &write::int(14, 1));
    assert_refused(&[conv.clone(), external], "another file");
    let negative = tensor("w", &[1], &write::int(1, -1));
    assert_refused(&[conv.clone(), negative], "negative");
    let huge = tensor(
        "w",
        &[1],
        &[write::int(1, i64::MAX), write::int(1, i64::MAX)].concat(),
    );
    assert_refused(&[conv.clone(), huge], "overflow");
    let short = tensor("w", &[1], &write::int(1, 1000));
    assert_refused(&[conv.clone(), short], "does not hold");
    let wrong = tensor("w", &[4, 5, 8, 8], &[]);
    assert!(
        matches!(
            import(&write::model(&[conv.clone(), wrong])),
            Err(Error::ParameterShape { .. })
        ),
        "channels that do not fit"
    );
    let text = tensor("w", &[1], &write::int(2, 8));
    assert_refused(&[conv, text], "string");

    let old = [
        write::int(1, 3),
        write::bytes(7, ""),
        write::bytes(8, write::int(2, 6)),
    ]
    .concat();
    let error = import(&old).unwrap_err().to_string();
    assert!(error.contains("export with opset 7"), "{error}");
}

#[test]
fn nodes_in_any_order_and_with_equal_names_are_fine() {
    let model = import(&write::model(&[
        node("Flatten", &["c"], "y", &[]),
        node("Relu", &["a"], "b", &[]),
        node("Add", &["b", "x"], "d", &[]),
        node("Conv", &["d", "w"], "c", &[]),
        node("Relu", &["x"], "a", &[]),
        tensor("w", &[4, 3, 8, 8], &[]),
    ]))
    .unwrap();
    let names: Vec<&str> = model
        .graph
        .nodes()
        .iter()
        .map(|n| n.name.as_str())
        .collect();
    assert_eq!(
        names,
        ["same name", "same name_2", "same name_3", "same name_4"],
        "each has its own"
    );
}

#[test]
fn lists_that_double_do_not_fill_the_memory() {
    let mut parts = vec![node("Shape", &["x"], "s0", &[])];
    for i in 0..60 {
        let (from, to) = (format!("s{i}"), format!("s{}", i + 1));
        parts.push(node("Concat", &[&from, &from], &to, &[]));
    }
    parts.push(node("Reshape", &["x", "s60"], "y", &[]));
    assert_refused(&parts, "too large");
}

#[test]
fn many_nodes_of_one_name_take_no_time() {
    let mut parts = Vec::new();
    let name = |i: usize| {
        if i == 0 {
            "x".to_owned()
        } else {
            format!("r{i}")
        }
    };
    for i in 0..20_000 {
        parts.push(node("Relu", &[&name(i)], &name(i + 1), &[]));
    }
    parts.push(node("Conv", &[&name(20_000), "w"], "y", &[]));
    parts.push(tensor("w", &[4, 3, 8, 8], &[]));
    let model = import(&write::model(&parts)).unwrap();
    assert_eq!(model.graph.nodes().len(), 20_001, "all of them");
}

#[test]
fn truncated_files_are_errors() {
    for case in cases() {
        let file = bytes(&case.name);
        let mut refused = 0;
        for len in 0..file.len() {
            refused += usize::from(import(&file[..len]).is_err());
        }
        // The opset, which follows the graph, must be there; the opsets of other domains, which
        // come last, need not.
        let accepted = file.len() - refused;
        assert!(accepted <= 2, "{}: {accepted} are accepted", case.name);
    }
}

#[test]
fn damaged_files_are_results_not_panics() {
    let mut errors = 0;
    let files: Vec<Vec<u8>> = cases().iter().map(|case| bytes(&case.name)).collect();
    // Field tags, and element types of tensors.
    let tokens = b"\x08\x0a\x12\x1a\x22\x2a\x32\x3a\x42\x4a\x10\x18\x01\x02\x06\x07\x80\xff";
    let mut fuzz = Fuzz::new(20_000);
    while fuzz.next_round() {
        let number = fuzz.below(files.len());
        match import(&fuzz.spoil(&files[number], tokens)) {
            Ok(model) => drop(optimize(&model.graph, Fusion::Full)),
            Err(_) => errors += 1,
        }
    }
    // Most bytes belong to weights, where damage goes unnoticed.
    let done = fuzz.done();
    assert!(
        errors > done / 10 && errors < done,
        "{errors} of {done} were refused"
    );
}
