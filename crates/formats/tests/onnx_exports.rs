//! What surrounds a network in ONNX files: external data, functions, outputs, and preprocessing.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod write;

use std::path::Path;

use resnet_formats::onnx;
use resnet_wgpu::Error;
use resnet_wgpu::internals::reference;
use resnet_wgpu::network::{Activation, Model, ModelOptions};
use resnet_wgpu::picture::{Filter, Preprocess, Resize};
use resnet_wgpu::tensor::Tensor;
use write::{bytes, floats, int, longs, model, model_of, node, node_of, tensor, text};

fn read(file: &[u8], options: &ModelOptions) -> Result<Model, Error> {
    onnx::from_bytes("made.onnx", file, options)?.model(options)
}

#[track_caller]
fn assert_refused(file: &[u8], expected: &str) {
    let error = read(file, &ModelOptions::default()).expect_err(expected);
    let text = error.to_string();
    assert!(
        text.contains(expected),
        "expected '{expected}', got: {text}"
    );
}

/// A network from the image `from` to the class scores `y`.
fn network(from: &str) -> Vec<u8> {
    [
        node("Conv", &[from, "w"], "c", &[]),
        node("GlobalAveragePool", &["c"], "p", &[]),
        node("Flatten", &["p"], "f", &[]),
        node("MatMul", &["f", "m"], "y", &[]),
        tensor("w", &[4, 3, 3, 3], &[]),
        tensor("m", &[4, 5], &[]),
    ]
    .concat()
}

fn output(name: &str) -> Vec<u8> {
    bytes(12, bytes(1, name))
}

/// A tensor `w` with external data.
fn elsewhere(location: &str, offset: &str) -> Vec<u8> {
    let entry = |key: &str, value: &str| bytes(13, [bytes(1, key), bytes(2, value)].concat());
    let dims: Vec<u8> = [4, 3, 8, 8].iter().flat_map(|&d| int(1, d)).collect();
    let place = [entry("location", location), entry("offset", offset)].concat();
    let fields = [dims, int(2, 1), bytes(8, "w"), place, int(14, 1)];
    bytes(5, fields.concat())
}

#[test]
fn weights_may_lie_beside_the_network_and_nowhere_else() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("n.onnx");
    let numbers: Vec<u8> = (0..768).flat_map(|_| 2f32.to_le_bytes()).collect();
    std::fs::write(folder.path().join("n.data"), &numbers).unwrap();
    let conv = node("Conv", &["x", "w"], "y", &[]);
    let open = |location: &str, offset: &str| {
        std::fs::write(&path, model(&[conv.clone(), elsewhere(location, offset)])).unwrap();
        resnet_formats::open(&path, &ModelOptions::default())
    };
    let network = open("n.data", "0").unwrap();
    let weights = network.tensors().values().next().unwrap();
    assert!(weights.data().iter().all(|&x| x == 2.0), "{weights:?}");
    for (location, offset, expected) in [
        ("../n.data", "0", "not in the folder"),
        ("/etc/passwd", "0", "not in the folder"),
        ("", "0", "not in the folder"),
        ("m.data", "0", "put both files into one folder"),
        ("n.data", "4", "is it complete"),
        ("n.data", "-4", "is it complete"),
        ("n.data", "18446744073709551615", "is it complete"),
    ] {
        let error = open(location, offset).unwrap_err().to_string();
        assert!(error.contains(expected), "{location} {offset}: {error}");
    }
    assert_refused(&model(&[conv, elsewhere("n.data", "0")]), "by its path");
}

/// A model with a model-local function.
fn with_function(function: &[Vec<u8>], graph: &[Vec<u8>]) -> Vec<u8> {
    [model(graph), bytes(25, function.concat())].concat()
}

#[test]
fn functions_of_the_file_are_replaced_by_their_nodes() {
    let call = bytes(
        1,
        [
            bytes(1, "x"),
            bytes(1, "w"),
            bytes(2, "y"),
            bytes(4, "f"),
            bytes(7, "local"),
            bytes(5, write::attribute("step", 2)),
        ]
        .concat(),
    );
    // `strides` is an attribute of the call, `alpha` one with a default value.
    let named = [bytes(1, "group"), bytes(21, "parts"), int(20, 2)].concat();
    let conv = node("Conv", &["a", "b"], "r", &[named]);
    let inner = bytes(7, &conv[2..]);
    let head = |nodes: &[u8]| {
        vec![
            bytes(1, "f"),
            bytes(4, "a"),
            bytes(4, "b"),
            bytes(5, "r"),
            nodes.to_vec(),
            bytes(10, "local"),
            bytes(11, write::attribute("parts", 1)),
        ]
    };
    let w = tensor("w", &[4, 3, 8, 8], &[]);
    let graph = [call, w];
    let file = with_function(&head(&inner), &graph);
    let options = ModelOptions::default();
    let model = read(&file, &options).unwrap();
    assert_eq!(model.graph.nodes().len(), 1, "{}", model.graph);

    let again = [
        bytes(1, "a"),
        bytes(1, "b"),
        bytes(2, "r"),
        bytes(4, "f"),
        bytes(7, "local"),
    ];
    let circle = bytes(7, again.concat());
    assert_refused(&with_function(&head(&circle), &graph), "in a cycle");
    let twice = [circle.clone(), circle].concat();
    assert_refused(&with_function(&head(&twice), &graph), "in a cycle");
}

#[test]
fn of_several_outputs_the_scores_are_taken() {
    let several = |names: &[&str]| {
        let outputs: Vec<u8> = names.iter().flat_map(|name| output(name)).collect();
        model_of(13, "", &[1, 3, 8, 8], &[network("x"), outputs].concat())
    };
    let result = |file: &[u8], asked: Option<&str>| {
        let mut options = ModelOptions::default();
        options.entry = asked.map(str::to_owned);
        let model = read(file, &options)?;
        Ok::<_, Error>((model.classes, model.graph.nodes().len()))
    };
    assert_eq!(
        result(&several(&["f", "y"]), None).unwrap().0,
        Some(5),
        "last"
    );
    assert_eq!(
        result(&several(&["y", "f"]), Some("f")).unwrap().0,
        None,
        "asked for"
    );
    let error = result(&several(&["y", "f"]), Some("z")).unwrap_err();
    assert!(error.to_string().contains("(y, f)"), "{error}");

    let two = [
        network("x"),
        node("Relu", &["f"], "r", &[]),
        output("y"),
        output("r"),
    ];
    assert_refused(
        &model_of(13, "", &[1, 3, 8, 8], &two.concat()),
        "the file has 2 outputs (y, r)",
    );
}

#[test]
fn the_last_function_says_what_the_probabilities_are() {
    for (op, expected) in [
        ("Softmax", Activation::Softmax),
        ("LogSoftmax", Activation::LogSoftmax),
        ("Sigmoid", Activation::Sigmoid),
    ] {
        let graph = [network("x"), node(op, &["y"], "z", &[]), output("z")].concat();
        let model = read(
            &model_of(13, "", &[1, 3, 8, 8], &graph),
            &ModelOptions::default(),
        )
        .unwrap();
        assert_eq!(model.activation, Some(expected), "{op}");
        assert_eq!(model.classes, Some(5), "{op}");
    }
    let graph = [network("x"), node("ArgMax", &["y"], "z", &[]), output("z")].concat();
    assert_refused(&model_of(13, "", &[1, 3, 8, 8], &graph), "class numbers");
}

#[test]
fn training_and_integers_are_refused_in_every_opset() {
    let ones = |name| tensor(name, &[3], &[]);
    let params = [ones("g"), ones("b"), ones("mu"), ones("v")].concat();
    let inputs = ["x", "g", "b", "mu", "v"];
    for (opset, outputs, attributes) in [
        (7, &["n", "s", "t", "u", "w2"][..], vec![]),
        (9, &["n", "s"], vec![]),
        (13, &["n", "", "t"], vec![]),
        (14, &["n"], vec![write::attribute("training_mode", 1)]),
        (
            25,
            &["n", "s", "t"],
            vec![write::attribute("training_mode", 1)],
        ),
    ] {
        let norm = node_of("BatchNormalization", &inputs, outputs, &attributes);
        let graph = [norm, params.clone(), network("n"), output("y")].concat();
        assert_refused(
            &model_of(opset, "", &[1, 3, 8, 8], &graph),
            "evaluation mode",
        );
    }
    for op in [
        "QuantizeLinear",
        "DequantizeLinear",
        "QLinearConv",
        "ConvInteger",
        "DynamicQuantizeLinear",
    ] {
        let graph = [network("x"), node(op, &["y"], "z", &[]), output("z")].concat();
        assert_refused(&model_of(13, "", &[1, 3, 8, 8], &graph), "quantised");
    }
}

/// The preprocessing found for a network that starts with `(x − mean) · factor`.
fn rules(producer: &str, mean: [f32; 3], factor: f32, name: &str) -> Preprocess {
    let graph = [
        floats("mean", &[3, 1, 1], &mean),
        floats("factor", &[], &[factor]),
        node("Sub", &["x", "mean"], "s", &[]),
        node("Mul", &["s", "factor"], name, &[]),
        network(name),
        output("y"),
    ];
    let file = model_of(13, producer, &[1, 3, 8, 8], &graph.concat());
    read(&file, &ModelOptions::default()).unwrap().preprocess
}

#[test]
fn what_the_network_does_to_pixels_is_not_done_twice() {
    let imagenet = [0.485, 0.456, 0.406];
    let bytes = imagenet.map(|mean| mean * 255.0);
    for (mean, factor, std) in [
        (imagenet, 1.0 / 0.225, [1.0; 3]),
        (bytes, 1.0 / 58.0, [1.0 / 255.0; 3]),
        (bytes, 1.0, [1.0 / 255.0; 3]),
        ([0.0; 3], 1.0 / 255.0, [1.0 / 255.0; 3]),
        ([127.5; 3], 1.0 / 127.5, [1.0 / 255.0; 3]),
        ([0.5; 3], 2.0, [1.0; 3]),
    ] {
        let got = rules("pytorch", mean, factor, "s2");
        assert_eq!((got.mean, got.std), ([0.0; 3], std), "{mean:?} {factor}");
        assert_eq!(got.filter, Filter::Bilinear, "resized as torchvision does");
        let keras = rules("tf2onnx", mean, factor, "s2");
        assert_eq!(
            (keras.std, keras.resize),
            (std, Resize::Squash),
            "resized as Keras does"
        );
    }
    // A second normalisation, as in MXNet's networks: the preprocessing is the usual one.
    let usual = Preprocess::TORCHVISION.with_size([8, 8]);
    assert_eq!(rules("mxnet", [0.01; 3], 0.9, "s2"), usual);
}

#[test]
fn names_that_tensorflow_took_over_show_the_family() {
    let named = |name: &str, producer: &str| {
        let graph = [node("Relu", &["x"], name, &[]), network(name), output("y")];
        let file = model_of(13, producer, &[1, 3, 8, 8], &graph.concat());
        read(&file, &ModelOptions::default()).unwrap().preprocess
    };
    let keras = |name| Preprocess::named(name).unwrap().with_size([8, 8]);
    assert_eq!(
        named("resnet50/conv2_block1_1_relu/Relu:0", "tf2onnx"),
        keras("keras-caffe")
    );
    assert_eq!(
        named("resnet50v2/conv2_block1_preact_relu/Relu:0", "tf2onnx"),
        keras("keras-tf")
    );
    let usual = Preprocess::TORCHVISION.with_size([8, 8]);
    assert_eq!(
        named("resnet50/conv2_block1_1_relu/Relu:0", "pytorch"),
        usual,
        "of others it says nothing"
    );
}

#[test]
fn files_beside_the_network_say_how_pictures_are_prepared() {
    const CONFIG: &str = r#"{"model_type": "resnet", "problem_type": "multi_label_classification",
        "id2label": {"0": "a", "1": "b", "2": "c", "3": "d", "4": "e"}}"#;
    const PROCESSOR: &str = r#"{"image_processor_type": "ConvNextImageProcessor", "crop_pct": 0.875,
        "size": {"shortest_edge": 224}, "image_mean": [0.5, 0.5, 0.5], "image_std": [0.5, 0.5, 0.5]}"#;
    let file = model_of(
        13,
        "pytorch",
        &[1, 3, 8, 8],
        &[network("x"), output("y")].concat(),
    );
    let check = |weights: &Path, found: bool| {
        std::fs::create_dir_all(weights.parent().unwrap()).unwrap();
        std::fs::write(weights, &file).unwrap();
        let options = ModelOptions::default();
        let model = resnet_formats::open(weights, &options)
            .unwrap()
            .model(&options)
            .unwrap();
        assert_eq!(
            model.preprocess.mean == [0.5; 3],
            found,
            "{}",
            weights.display()
        );
        assert_eq!(model.labels.is_some(), found, "{}", weights.display());
        assert_eq!(
            model.activation == Some(Activation::Sigmoid),
            found,
            "{}",
            weights.display()
        );
    };
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("config.json"), CONFIG).unwrap();
    std::fs::write(folder.path().join("preprocessor_config.json"), PROCESSOR).unwrap();
    check(&folder.path().join("model.onnx"), true);
    check(&folder.path().join("onnx/model.onnx"), true);
    check(&folder.path().join("other/model.onnx"), false);

    // What timm states about layers does not matter: the file lists them.
    let timm = r#"{"architecture": "resnet50", "model_args": {"aa_layer": "blurpc"},
        "pretrained_cfg": {"mean": [0.5, 0.5, 0.5], "std": [0.5, 0.5, 0.5]}}"#;
    let weights = folder.path().join("timm/model.onnx");
    std::fs::create_dir_all(weights.parent().unwrap()).unwrap();
    std::fs::write(weights.with_file_name("config.json"), timm).unwrap();
    std::fs::write(&weights, &file).unwrap();
    let network = resnet_formats::open(&weights, &ModelOptions::default()).unwrap();
    assert_eq!(network.facts.preprocess.mean, [0.5; 3], "timm");
}

#[test]
fn fused_convolutions_of_onnx_runtime_are_understood() {
    let fused = |activation: &str| {
        let node = [
            bytes(1, "x"),
            bytes(1, "w"),
            bytes(2, "y"),
            bytes(4, "FusedConv"),
            bytes(7, "com.microsoft"),
            bytes(5, text("activation", activation)),
        ];
        model(&[bytes(1, node.concat()), tensor("w", &[4, 3, 8, 8], &[])])
    };
    let model = read(&fused("Relu"), &ModelOptions::default()).unwrap();
    assert_eq!(model.graph.nodes().len(), 2, "{}", model.graph);
    assert_refused(&fused("HardSigmoid"), "HardSigmoid");
}

#[test]
fn a_normalisation_of_any_number_of_groups_is_understood_in_its_spellings() {
    let image = Tensor::from_fn(&[1, 3, 8, 8], |i| f32::from(u8::try_from(i).unwrap()));
    let read = |opset: i64, nodes: &[Vec<u8>]| {
        let rest = [
            node("Conv", &["n", "w"], "y", &[]),
            tensor("w", &[4, 3, 8, 8], &[]),
            floats("scale", &[3], &[1.0, 2.0, 3.0]),
            floats("shift", &[3], &[0.0, 0.5, -0.5]),
            floats("each scale", &[3, 1, 1], &[1.0, 2.0, 3.0]),
            floats("each shift", &[3, 1, 1], &[0.0, 0.5, -0.5]),
            output("y"),
        ];
        let file = [nodes.concat(), rest.concat()].concat();
        let model = read(
            &model_of(opset, "", &[1, 3, 8, 8], &file),
            &ModelOptions::default(),
        );
        let graph = model.unwrap().graph;
        let values = reference::run(&graph, std::slice::from_ref(&image)).unwrap();
        values.get(graph.outputs()[0]).unwrap().clone()
    };
    for groups in [1, 3] {
        let operator = read(
            21,
            &[node(
                "GroupNormalization",
                &["x", "scale", "shift"],
                "n",
                &[write::attribute("num_groups", groups)],
            )],
        );
        let ones = [
            longs("grouped", &[0, groups, -1]),
            tensor("ones", &[groups], &[]),
            floats(
                "zeros",
                &[groups],
                &vec![0.0; usize::try_from(groups).unwrap()],
            ),
        ];
        let reshaped = [
            node("Reshape", &["x", "grouped"], "g", &[]),
            node("InstanceNormalization", &["g", "ones", "zeros"], "i", &[]),
            node("Shape", &["x"], "s", &[]),
            node("Reshape", &["i", "s"], "r", &[]),
            node("Mul", &["r", "each scale"], "m", &[]),
            node("Add", &["m", "each shift"], "n", &[]),
        ];
        let spelled = read(17, &[reshaped.concat(), ones.concat()]);
        for (operator, spelled) in operator.data().iter().zip(spelled.data()) {
            assert!(
                (operator - spelled).abs() < 1e-3,
                "{groups}: {operator} {spelled}"
            );
        }
        // All 192 numbers, or 64 of each channel, have their mean subtracted.
        let expected = if groups == 1 {
            2.0 * 64.0 * 1.1546
        } else {
            0.0
        };
        let got = operator.data()[0];
        assert!((got - expected).abs() < 0.1, "{groups}: {got}");
    }
}
