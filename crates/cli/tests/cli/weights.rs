//! Weight files, and what the program says about their networks.

use std::io::Read;

use super::*;

#[test]
fn weights_that_cannot_be_used_are_their_own_exit_code() {
    let folder = pictures();
    let junk = file(&folder, "junk.safetensors", "junk");
    let missing = folder.path().join("missing.safetensors");
    // Tensors, but of no network.
    let header = r#"{"foo":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}"#;
    let length = (header.len() as u64).to_le_bytes();
    let foreign = folder.path().join("foreign.safetensors");
    std::fs::write(&foreign, [&length, header.as_bytes(), &[0; 4]].concat()).unwrap();
    for weights in [&junk, &missing, &foreign] {
        Run::new(&[&["inspect", path(weights)]])
            .ends_with(3)
            .complains_of(path(weights));
    }
}

/// Unpacks a small Keras file from the fixtures.
fn keras_file(name: &str) -> Vec<u8> {
    let packed = format!(
        "{}/../formats/tests/data/keras/{name}.gz",
        env!("CARGO_MANIFEST_DIR")
    );
    let mut bytes = Vec::new();
    flate2::read::GzDecoder::new(std::fs::File::open(packed).unwrap())
        .read_to_end(&mut bytes)
        .unwrap();
    bytes
}

#[test]
fn a_keras_file_is_read_by_its_content_and_a_damaged_one_has_the_code_of_weights() {
    let folder = tempfile::tempdir().unwrap();
    let weights = folder.path().join("weights");
    let inspect = ["inspect", "--format", "json", "--weights", path(&weights)];
    for name in ["k2.keras", "k2.h5"] {
        let whole = keras_file(name);
        std::fs::write(&weights, &whole).unwrap();
        let json = Run::new(&[&inspect]).ends_with(0).json();
        assert_eq!(json["model"]["family"], "keras", "{name}");
        std::fs::write(&weights, &whole[..whole.len() / 2]).unwrap();
        Run::new(&[&inspect])
            .ends_with(3)
            .complains_of(path(&weights));
    }
    // HDF5, but not written by Keras.
    let mut other = keras_file("k2.h5");
    let mark = b"layer_names";
    while let Some(at) = other.windows(mark.len()).position(|bytes| bytes == mark) {
        other[at] = b'X';
    }
    std::fs::write(&weights, &other).unwrap();
    Run::new(&[&inspect]).ends_with(3);
}

#[test]
fn strict_refuses_what_is_assumed_until_a_flag_says_it() {
    let inspect = [
        "inspect",
        "--weights",
        concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/../formats/tests/data/torch/zip.pth"
        ),
        "--size",
        "48x64",
    ];
    let json = Run::new(&[&inspect, &["--format", "json"]])
        .ends_with(0)
        .json();
    let assumed = |json: &Value| -> Vec<String> {
        let decisions = json["decisions"].as_array().unwrap().iter();
        let assumed = decisions.filter(|decision| decision["confidence"] == "assumed");
        assumed.map(|d| d["what"].to_string()).collect()
    };
    assert_eq!(assumed(&json), ["\"preprocessing\""], "{json}");
    Run::new(&[&inspect, &["--strict"]])
        .ends_with(3)
        .complains_of("--preprocess");
    let stated = ["--strict", "--preprocess", "timm", "--format", "json"];
    let json = Run::new(&[&inspect, &stated]).ends_with(0).json();
    assert!(assumed(&json).is_empty(), "{json}");

    // torchvision's names cannot belong to the lesson's network.
    Run::new(&[&inspect, &["--variant", "notebook"]])
        .ends_with(3)
        .complains_of("possible: v1.5, v1");
    Run::new(&[&inspect, &["--variant", "v3"]]).ends_with(2);
}

#[test]

fn without_weights_the_bundled_network_names_the_solids() {
    let assets = concat!(env!("CARGO_MANIFEST_DIR"), "/../../assets");
    let run = Run::new(&[&["classify", assets, "--format", "json"], &ON_CPU]).ends_with(0);
    assert!(run.stderr.contains("bundled"), "a remark: {}", run.stderr);
    let json = run.json();
    assert_eq!(json["model"]["weights"], "bundled: shapes", "its name");
    let results = json["results"].as_array().unwrap();
    assert!(results.len() >= 6, "pictures");
    for result in results {
        let file = Path::new(result["image"].as_str().unwrap());
        let shown = file
            .file_stem()
            .unwrap()
            .to_str()
            .unwrap()
            .replace('-', " ");
        assert_eq!(result["top"][0]["label"], Value::from(shown), "{result}");
    }
}

#[test]
fn labels_must_be_as_many_as_the_classes() {
    let folder = pictures();
    let picture = folder.path().join("a.png");
    let two = file(&folder, "two.txt", "cat\ndog\n");
    let six = file(&folder, "six.txt", "null\none\ntwo\nthree\nfour\nfive\n");
    let classify = [
        "classify",
        path(&picture),
        "--arch",
        "notebook",
        "--top",
        "6",
    ];
    Run::new(&[&classify, &ON_CPU, &["--labels", path(&two)]])
        .ends_with(2)
        .complains_of("6 classes");
    Run::new(&[&classify, &ON_CPU, &["--labels", "nowhere.txt"]])
        .ends_with(2)
        .complains_of("nowhere.txt");
    for size in ["7", "512"] {
        Run::new(&[&["inspect", "--size", size]])
            .ends_with(2)
            .complains_of(&format!("--size {size}x{size} does not suit"));
    }
    Run::new(&[&["inspect", "--set", "colour=blue"]])
        .ends_with(2)
        .complains_of("'colour'");
    let run = Run::new(&[&classify, &ON_CPU, &["--labels", path(&six)]]).ends_with(0);
    assert!(run.stdout.contains("three"), "{}", run.stdout);
    let run = Run::new(&[&classify, &ON_CPU]).ends_with(0);
    assert!(run.stdout.contains("class 3"), "{}", run.stdout);
}

#[test]
fn inspect_shows_the_decisions_the_layers_and_the_plan() {
    let run = Run::new(&[&[
        "inspect", "--arch", "resnet50", "--plan", "--format", "json",
    ]]);
    assert_eq!(
        run.stderr.lines().count(),
        1,
        "random weights: {}",
        run.stderr
    );
    let json = run.ends_with(0).json();
    // torchvision's published figures.
    assert_eq!(json["model"]["parameters"], 25_557_032, "parameters");
    let macs = json["model"]["macs_per_image"].as_f64().unwrap();
    assert!((macs * 1e-9 - 4.089).abs() < 1e-3, "{macs}");
    let layers = json["layers"].as_array().unwrap();
    assert_eq!(
        layers[0]["output"],
        serde_json::json!([1, 64, 112, 112]),
        "conv1"
    );
    let sum: u64 = layers
        .iter()
        .map(|layer| layer["parameters"].as_u64().unwrap())
        .sum();
    assert_eq!(sum, 25_557_032, "sum over the layers");
    for decision in json["decisions"].as_array().unwrap() {
        assert!(
            ["what", "value", "evidence", "confidence"]
                .iter()
                .all(|key| decision[key].is_string()),
            "{decision}"
        );
    }
    let steps = json["plan"]["steps"].as_array().unwrap();
    assert_eq!(json["plan"]["dispatches"], steps.len(), "dispatches");

    let run = Run::new(&[&["-q", "inspect", "--plan", "--batch", "2"], &TINY]).ends_with(0);
    for text in [
        "11,689,512 parameters",
        "layer4.1.conv2",
        "2×64×16×16",
        "dispatches",
    ] {
        assert!(run.stdout.contains(text), "{text}: {}", run.stdout);
    }
    assert!(run.stderr.is_empty(), "quiet: {}", run.stderr);
}

#[test]
fn preprocessing_from_a_file_brings_its_size() {
    let folder = pictures();
    let rules = r#"{"size": [40, 56], "resize": "squash", "filter": "box",
        "mean": [0, 0, 0], "std": [1, 1, 1], "channels": "bgr"}"#;
    let rules = file(&folder, "rules.json", rules);
    let inspect = ["inspect", "--arch", "resnet18", "--format", "json"];
    let json = Run::new(&[&inspect, &["--preprocess", path(&rules)]])
        .ends_with(0)
        .json();
    assert_eq!(json["model"]["size"], serde_json::json!([40, 56]), "size");
    assert_eq!(json["preprocess"]["channels"], "bgr", "channels");
    let damaged = file(&folder, "damaged.json", "{");
    Run::new(&[&inspect, &["--preprocess", path(&damaged)]])
        .ends_with(1)
        .complains_of("damaged.json");
}
