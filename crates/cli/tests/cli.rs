//! The program as a user runs it: what it prints, and how it ends. The module `gpu` needs an adapter.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use image::{Rgb, RgbImage};
use resnet_wgpu::graph::Role;
use resnet_wgpu::internals::reference::{self, Keep};
use resnet_wgpu::network::Arch;
use resnet_wgpu::network::ModelOptions;
use resnet_wgpu::tensor::Tensor;
use safetensors::tensor::TensorView;
use serde_json::Value;
use tempfile::TempDir;

/// The smallest network, without its name on the command line.
const TINY: [&str; 4] = ["--arch", "resnet18", "--size", "32"];
const ON_CPU: [&str; 2] = ["--backend", "cpu"];

/// Exit code, stdout and stderr of one run.
struct Run {
    code: i32,
    stdout: String,
    stderr: String,
}

impl Run {
    #[track_caller]
    fn new(parts: &[&[&str]]) -> Self {
        Self::of(command(parts).output().unwrap())
    }

    #[track_caller]
    fn of(output: Output) -> Self {
        let text = |bytes| String::from_utf8(bytes).unwrap();
        let run = Self {
            code: output.status.code().unwrap(),
            stdout: text(output.stdout),
            stderr: text(output.stderr),
        };
        assert!(!run.stderr.contains("panicked"), "a panic: {}", run.stderr);
        run
    }

    #[track_caller]
    fn ends_with(self, code: i32) -> Self {
        assert_eq!(self.code, code, "{}\n{}", self.stdout, self.stderr);
        self
    }

    /// The error line says what a user needs to know.
    #[track_caller]
    fn complains_of(self, text: &str) -> Self {
        let is_said = |line: &str| line.starts_with("error: ") && line.contains(text);
        let count = self.stderr.lines().filter(|line| is_said(line)).count();
        assert_eq!(count, 1, "one line with '{text}': {}", self.stderr);
        self
    }

    #[track_caller]
    fn json(&self) -> Value {
        let json: Value = serde_json::from_str(&self.stdout).unwrap();
        assert_eq!(json["schema_version"], 1, "version");
        json
    }
}

fn command(parts: &[&[&str]]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_resnet"));
    command.args(parts.concat()).env_remove("RUST_LOG");
    // What the user of this machine has tuned is none of the tests' business.
    let caches = Path::new(env!("CARGO_TARGET_TMPDIR")).join("caches");
    command.env("RESNET_CACHE_DIR", caches);
    command
}

/// A folder with pictures, of which one is not square.
fn pictures() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (name, width, height) in [("a.png", 40, 40), ("b.PNG", 61, 33), ("c.jpg", 35, 50)] {
        let picture = RgbImage::from_fn(width, height, |x, y| {
            let wave = |step: u32| u8::try_from((x * step + y * (step + 3)) % 256).unwrap();
            Rgb([wave(5), wave(2), wave(width / 9)])
        });
        picture.save(folder.path().join(name)).unwrap();
    }
    folder
}

fn path(path: &Path) -> &str {
    path.to_str().unwrap()
}

fn file(folder: &TempDir, name: &str, text: &str) -> PathBuf {
    let file = folder.path().join(name);
    std::fs::write(&file, text).unwrap();
    file
}

/// Rounding may differ: other sizes and devices mean other orders of summation.
#[track_caller]
fn assert_same_guess(one: &Value, other: &Value) {
    for field in ["class", "label"] {
        assert_eq!(one[field], other[field], "{field} of {one} and {other}");
    }
    for field in ["logit", "probability"] {
        let [a, b] = [one, other].map(|guess| guess[field].as_f64().unwrap());
        assert!((a - b).abs() < 1e-5, "{field} of {one} and {other}");
    }
}

#[test]
fn every_command_has_help_with_examples() {
    for name in [
        "devices", "classify", "embed", "cam", "inspect", "compare", "bench",
    ] {
        let run = Run::new(&[&[name, "--help"]]).ends_with(0);
        let example = format!("  resnet {name} ");
        assert!(run.stdout.contains("Examples:"), "{name}");
        assert!(run.stdout.contains(&example), "{name}: {}", run.stdout);
    }
    let run = Run::new(&[&["--help"]]).ends_with(0);
    assert!(run.stdout.contains("Exit codes: 0 ok"), "{}", run.stdout);
}

#[test]
fn senseless_command_lines_are_usage_errors() {
    for line in [
        "",
        "frobnicate",
        "inspect --nonsense",
        "inspect --size 0",
        "inspect --size 64x",
        "inspect --arch resnet99",
        "inspect --format csv",
        "inspect --fusion half",
        "inspect --preprocess unheard-of",
        "classify",
        "classify x.png --batch 0",
        "classify x.png --backend cpu --device 0",
        "compare --tolerance -1",
        "compare --golden x --image y",
        "bench --batch 1,,2",
        "bench --seconds soon",
    ] {
        let words: Vec<&str> = line.split_whitespace().collect();
        let run = Run::new(&[&words]).ends_with(2);
        assert!(run.stdout.is_empty(), "'{line}' prints {}", run.stdout);
    }
    let run = command(&[&["devices"]])
        .env("WGPU_BACKEND", "glide")
        .output();
    Run::of(run.unwrap()).ends_with(2).complains_of("glide");
}

#[test]
fn weights_that_cannot_be_used_are_their_own_exit_code() {
    let folder = pictures();
    let junk = file(&folder, "junk.safetensors", "junk");
    let missing = folder.path().join("missing.safetensors");
    for weights in [&junk, &missing] {
        Run::new(&[&["inspect", "--weights", path(weights)]])
            .ends_with(3)
            .complains_of(path(weights));
    }
}

/// A small Keras file of the fixtures, unpacked.
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
    // HDF5, but of nothing that Keras writes.
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

    // Names of torchvision cannot be of the lesson's network.
    Run::new(&[&inspect, &["--variant", "notebook"]])
        .ends_with(3)
        .complains_of("possible: v1.5, v1");
    Run::new(&[&inspect, &["--variant", "v3"]]).ends_with(2);
}

#[test]
fn devices_prints_json_with_and_without_adapters() {
    let json = Run::new(&[&["devices", "--format", "json"]])
        .ends_with(0)
        .json();
    let chosen = json["chosen"].as_u64();
    for adapter in json["adapters"].as_array().unwrap() {
        assert!(
            adapter["name"].is_string() && adapter["limits"].is_object(),
            "{adapter}"
        );
        assert_eq!(
            adapter["chosen"],
            adapter["index"].as_u64() == chosen,
            "{adapter}"
        );
    }
    let run = Run::new(&[&["devices"], &ON_CPU]).ends_with(0);
    assert!(run.stdout.contains("CPU path"), "{}", run.stdout);
}

#[test]
fn a_device_that_is_not_there_is_its_own_exit_code() {
    let classify = ["classify", "x.png", "--device", "nonsense"];
    Run::new(&[&classify, &TINY]).ends_with(4);
}

#[test]
fn bad_images_among_good_ones_are_reported_and_the_others_answered() {
    let folder = pictures();
    let bad = file(&folder, "bad.jpg", "no image");
    let missing = folder.path().join("missing.png");
    let images = ["classify", path(folder.path()), path(&missing)];
    let json = ["--format", "json", "--top", "3", "--batch", "2"];
    let run = Run::new(&[&images, &TINY, &ON_CPU, &json])
        .ends_with(1)
        .complains_of(path(&bad))
        .complains_of(path(&missing));
    let json = run.json();
    let names: Vec<&str> = json["results"]
        .as_array()
        .unwrap()
        .iter()
        .map(|result| result["image"].as_str().unwrap())
        .collect();
    let expected = ["a.png", "b.PNG", "c.jpg"].map(|name| folder.path().join(name));
    assert_eq!(
        names,
        expected.each_ref().map(|p| path(p)),
        "sorted, without the bad ones"
    );
    assert_eq!(
        json["errors"].as_array().unwrap().len(),
        2,
        "{}",
        json["errors"]
    );
    for result in json["results"].as_array().unwrap() {
        let top = result["top"].as_array().unwrap();
        let probabilities: Vec<f64> = top
            .iter()
            .map(|guess| guess["probability"].as_f64().unwrap())
            .collect();
        assert!(
            probabilities.is_sorted_by(|a, b| a >= b),
            "{probabilities:?}"
        );
        assert_eq!(top.len(), 3, "top");
        assert!(
            top[0]["class"].is_u64() && top[0]["logit"].is_f64(),
            "{}",
            top[0]
        );
        assert!(top[0]["label"].is_string(), "{}", top[0]);
    }
    for field in ["adapter", "model", "timings"] {
        assert!(json[field].is_object(), "{field}");
    }
    assert_eq!(json["model"]["size"], serde_json::json!([32, 32]), "size");
}

/// What each result is about, one of a batch of two after the other.
fn classified(arguments: &[&str], code: i32) -> (Vec<String>, Run) {
    let flags = ["--format", "jsonl", "--top", "1", "--batch", "2"];
    let run = Run::new(&[&["classify"], arguments, &TINY, &ON_CPU, &flags]).ends_with(code);
    let images = run.stdout.lines().map(|line| {
        let line: Value = serde_json::from_str(line).unwrap();
        line["image"].as_str().unwrap().to_owned()
    });
    (images.collect(), run)
}

#[test]
fn patterns_are_what_a_shell_would_make_of_them() {
    let folder = pictures();
    let at = |name: &str| path(&folder.path().join(name)).to_owned();
    std::fs::create_dir_all(folder.path().join("deep/er")).unwrap();
    for copy in ["deep/d.png", "deep/er/e.png", "deep/.hidden.png", "[a].png"] {
        std::fs::copy(at("a.png"), at(copy)).unwrap();
    }
    // That it matches `a.png` as a pattern is nothing to a file of this name.
    let (images, run) = classified(&[&at("[a].png"), &at("[b]*")], 0);
    assert_eq!(images, [at("[a].png"), at("b.PNG")], "a name first");
    // No terminal: no progress.
    assert_eq!(run.stderr.lines().count(), 1, "{}", run.stderr);
    assert!(run.stderr.starts_with("note: "), "{}", run.stderr);

    let (images, _) = classified(&[&at("**/*.png"), &at("?.jpg")], 0);
    let expected = ["[a].png", "a.png", "deep/d.png", "deep/er/e.png", "c.jpg"];
    assert_eq!(images, expected.map(at), "all folders, nothing hidden");
    let (images, _) = classified(&[&at("deep/**")], 0);
    let mut found = images.clone();
    found.sort();
    assert_eq!(found, ["deep/d.png", "deep/er/e.png"].map(at), "each once");
}

#[test]
fn patterns_without_matches_are_errors_as_missing_files_are() {
    let folder = pictures();
    let at = |name: &str| path(&folder.path().join(name)).to_owned();
    let none = at("*.webp");
    let (images, run) = classified(&[&none, &at("a.png")], 1);
    assert_eq!(images, [at("a.png")], "the others are answered");
    run.complains_of(&none)
        .complains_of("as a pattern it matches none");
    let (images, run) = classified(&[&at("a[.png")], 1);
    assert_eq!(images.len(), 0, "{images:?}");
    run.complains_of("neither a file nor a pattern");
}

#[test]
fn neither_the_batch_nor_the_form_of_the_results_changes_an_answer() {
    let folder = pictures();
    let classify = ["classify", "-q", path(folder.path()), "--top", "2"];
    let wide = ["--arch", "resnet18", "--size", "33x47"];
    let run = |flags: &[&str]| {
        Run::new(&[&classify, &wide, &ON_CPU, flags])
            .ends_with(0)
            .stdout
    };
    let lines = |text: String| -> Vec<Value> {
        let lines = text.lines();
        lines
            .map(|line| serde_json::from_str(line).unwrap())
            .collect()
    };
    let by_two = lines(run(&["--format", "jsonl", "--batch", "2"]));
    let lines = lines(run(&["--format", "jsonl"]));
    assert_eq!(lines.len(), 3, "images");
    for (alone, together) in lines.iter().zip(&by_two) {
        assert_eq!(alone["image"], together["image"], "order");
        for rank in 0..2 {
            assert_same_guess(&alone["top"][rank], &together["top"][rank]);
        }
    }
    let csv = run(&["--format", "csv", "--labels", "imagenet1k"]);
    assert_eq!(
        csv.lines().next(),
        Some("image,rank,class,label,probability,logit"),
        "header"
    );
    assert_eq!(csv.lines().count(), 1 + lines.len() * 2, "{csv}");
    let text = run(&[]);
    for line in lines {
        assert_eq!(line["schema_version"], 1, "version");
        for form in [&csv, &text] {
            assert!(form.contains(line["image"].as_str().unwrap()), "{form}");
            assert!(
                form.contains(line["top"][0]["label"].as_str().unwrap()),
                "{form}"
            );
        }
    }
}

/// The numbers of a NumPy file of so many rows and columns.
fn npy(file: &Path, rows: usize, columns: usize) -> Vec<f32> {
    let bytes = std::fs::read(file).unwrap();
    let header = std::str::from_utf8(&bytes[10..128]).unwrap();
    assert_eq!(bytes[..8], *b"\x93NUMPY\x01\x00", "magic and version");
    assert!(
        header.contains(&format!("'shape': ({rows}, {columns})")),
        "{header}"
    );
    let words = bytes[128..].as_chunks::<4>().0;
    assert_eq!(words.len(), rows * columns, "numbers");
    words.iter().map(|&w| f32::from_le_bytes(w)).collect()
}

#[test]
fn embed_gives_the_features_of_each_image_in_both_forms() {
    let folder = pictures();
    let bad = file(&folder, "bad.png", "no image");
    let out = tempfile::tempdir().unwrap();
    let file = out.path().join("features.npy");
    let images = ["embed", path(folder.path()), "--batch", "2"];
    let to_file = ["-o", path(&file)];
    let run = Run::new(&[&images, &TINY, &ON_CPU, &to_file])
        .ends_with(1)
        .complains_of(path(&bad));
    let listed: Vec<&str> = run.stdout.lines().collect();
    let expected = ["a.png", "b.PNG", "c.jpg"].map(|name| folder.path().join(name));
    assert_eq!(listed, expected.each_ref().map(|p| path(p)), "rows");
    let rows = npy(&file, 3, 512);
    let files = std::fs::read_dir(out.path()).unwrap().count();
    assert_eq!(files, 1, "nothing but the file");

    let run = Run::new(&[&images, &TINY, &ON_CPU, &["--normalize"]]).ends_with(1);
    for (index, line) in run.stdout.lines().enumerate() {
        let json: Value = serde_json::from_str(line).unwrap();
        assert_eq!(json["image"], path(&expected[index]), "image");
        let embedding: Vec<f64> = serde_json::from_value(json["embedding"].clone()).unwrap();
        let row = &rows[index * 512..][..512];
        let length = row
            .iter()
            .map(|&x| f64::from(x).powi(2))
            .sum::<f64>()
            .sqrt();
        assert!(length > 0.1, "there is something to see");
        for (x, y) in embedding.iter().zip(row) {
            assert!(
                (x - f64::from(*y) / length).abs() < 1e-5,
                "{x} for {y} of {length}"
            );
        }
        assert_eq!(embedding.len(), 512, "features");
    }
    let first = &rows[..512];
    assert_ne!(first, &rows[512..1024], "each image has its own");
    let wide = ["embed", path(&expected[0])];
    let alone = Run::new(&[&wide, &TINY, &ON_CPU]).ends_with(0);
    let json: Value = serde_json::from_str(&alone.stdout).unwrap();
    let alone: Vec<f32> = serde_json::from_value(json["embedding"].clone()).unwrap();
    for (x, y) in alone.iter().zip(first) {
        assert!(
            (x - y).abs() < 1e-4,
            "the batch changes nothing: {x} and {y}"
        );
    }
}

#[test]
fn cam_paints_what_the_network_sees_and_leaves_the_rest() {
    let folder = pictures();
    let image = folder.path().join("b.PNG");
    let out = tempfile::tempdir().unwrap();
    let file = out.path().join("map.png");
    let cam = ["cam", path(&image), "-o", path(&file)];
    let json = ["--format", "json"];
    let run = Run::new(&[&cam, &TINY, &ON_CPU, &json]).ends_with(0);
    let json = run.json();
    let map: Vec<Vec<f32>> = serde_json::from_value(json["map"].clone()).unwrap();
    assert_eq!(json["map_size"], serde_json::json!([4, 4]), "32 pixels / 8");
    let values = || map.iter().flatten().copied();
    assert_eq!(values().fold(1.0, f32::min), 0.0, "smallest");
    assert_eq!(values().fold(0.0, f32::max), 1.0, "largest");
    let probability = json["probability"].as_f64().unwrap();
    assert!(
        probability > 1e-3,
        "the most likely one of 1000: {probability}"
    );

    // 33×61 is covered by 36×66 pixels of which the middle 32×32 are seen.
    let before = image::open(&image).unwrap().to_rgb8();
    let after = image::open(&file).unwrap().to_rgb8();
    assert_eq!(before.dimensions(), after.dimensions(), "size");
    let seen = |x: u32| (16..46).contains(&x);
    let columns = |inside: bool| (0..61).filter(move |&x| seen(x) == inside);
    assert!(
        columns(false).all(|x| before.get_pixel(x, 16) == after.get_pixel(x, 16)),
        "outside"
    );
    let changed = columns(true).filter(|&x| before.get_pixel(x, 16) != after.get_pixel(x, 16));
    assert!(changed.count() > 25, "inside");

    // Another class has another map, by its number or its name.
    let by_number = ["--format", "json", "--class", "207"];
    let one = Run::new(&[&cam, &TINY, &ON_CPU, &by_number]).ends_with(0);
    let by_name = ["--format", "json", "--class", "Golden Retriever"];
    let other = Run::new(&[&cam, &TINY, &ON_CPU, &by_name]).ends_with(0);
    assert_eq!(one.json()["map"], other.json()["map"], "golden retriever");
    assert_ne!(one.json()["map"], json["map"], "another class");
    let files = std::fs::read_dir(out.path()).unwrap().count();
    assert_eq!(files, 1, "nothing but the picture");

    for (flags, says) in [
        (["--class", "1000"], "0 to 999"),
        (["--class", "retriever"], "may be"),
        (["--class", "hippogriff"], "in no label"),
    ] {
        Run::new(&[&cam, &TINY, &ON_CPU, &flags])
            .ends_with(2)
            .complains_of(says);
    }
    Run::new(&[&cam, &TINY, &ON_CPU, &["--at", "layer9"]])
        .ends_with(1)
        .complains_of("layer9");
    let nowhere = out.path().join("no/such/folder.png");
    let cam = ["cam", path(&image), "-o", path(&nowhere)];
    Run::new(&[&cam, &TINY, &ON_CPU])
        .ends_with(1)
        .complains_of("cannot write");
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
        .ends_with(1)
        .complains_of("6 classes");
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
        "made-up weights: {}",
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

#[test]
fn compare_on_the_cpu_is_within_the_default_and_outside_of_nothing_at_all() {
    let compare = ["compare", "--cpu", "--format", "json"];
    let json = Run::new(&[&compare, &TINY]).ends_with(0).json();
    assert_eq!(json["logits"]["top5_equal"], true, "top 5");
    assert!(
        json["logits"]["max_rel"].as_f64().unwrap() < 1e-4,
        "{}",
        json["logits"]
    );
    let run = Run::new(&[&compare, &TINY, &["--layer-tolerance", "0"]]);
    assert_eq!(run.json()["first_outside"], "conv1", "first layer");
    run.ends_with(5).complains_of("'conv1'");
}

#[test]
fn compare_reads_what_another_implementation_computed() {
    let folder = tempfile::tempdir().unwrap();
    let options = ModelOptions {
        size: Some([32, 40]),
        ..ModelOptions::default()
    };
    let network = Arch::ResNet18.made_up(0, &options).unwrap();
    let model = network.model(&options).unwrap();
    let input = Tensor::from_fn(
        &model.graph.value_of(Role::Image).unwrap().shape.dims(),
        |i| f32::from(u16::try_from(i * 31 % 512).unwrap()) / 256.0 - 1.0,
    );
    let all = reference::run_keeping(&model.graph, std::slice::from_ref(&input), Keep::All);
    let all = all.unwrap();
    let value = |name| all.get(model.graph.find(name).unwrap()).unwrap().clone();
    // The logits without sides of one, as PyTorch has them; `conv1` is fused away.
    let logits = Tensor::new(&[1, 1000], value("fc").data()).unwrap();
    let wrong = Tensor::from_fn(value("maxpool").dims(), |_| 0.5);
    let golden = |name: &str, maxpool: &Tensor| {
        let tensors = [
            ("input", &input),
            ("conv1", &value("conv1")),
            ("maxpool", maxpool),
            ("fc", &logits),
        ]
        .map(|(name, tensor)| {
            let bytes: Vec<u8> = tensor.data().iter().flat_map(|x| x.to_le_bytes()).collect();
            (name, tensor.dims().to_vec(), bytes)
        });
        let views = tensors.iter().map(|(name, dims, bytes)| {
            let dtype = safetensors::Dtype::F32;
            (*name, TensorView::new(dtype, dims.clone(), bytes).unwrap())
        });
        let file = folder.path().join(name);
        std::fs::write(&file, safetensors::serialize(views, None).unwrap()).unwrap();
        file
    };
    let compare = [
        "compare", "--cpu", "--arch", "resnet18", "--format", "json", "--golden",
    ];

    let right = golden("right.safetensors", &value("maxpool"));
    let run = Run::new(&[&compare, &[path(&right)]]).ends_with(0);
    assert!(
        run.stderr.contains("'conv1'"),
        "not compared: {}",
        run.stderr
    );
    let json = run.json();
    let names: Vec<&str> = json["layers"]
        .as_array()
        .unwrap()
        .iter()
        .map(|layer| layer["name"].as_str().unwrap())
        .collect();
    assert_eq!(names, ["maxpool", "fc"], "layers");
    assert_eq!(
        json["model"]["size"],
        serde_json::json!([32, 40]),
        "size of the input"
    );

    let wrong = golden("wrong.safetensors", &wrong);
    Run::new(&[&compare, &[path(&wrong)]])
        .ends_with(5)
        .complains_of("'maxpool'");
}

#[test]
fn bench_on_the_cpu_has_the_documented_json() {
    let bench = [
        "bench",
        "--format",
        "json",
        "--iterations",
        "2",
        "--batch",
        "1,2",
    ];
    let json = Run::new(&[&bench, &TINY, &ON_CPU, &["--reference"]])
        .ends_with(0)
        .json();
    let runs = json["runs"].as_array().unwrap();
    let paths: Vec<_> = runs
        .iter()
        .map(|r| (r["path"].clone(), r["batch"].clone()))
        .collect();
    let expected = [("cpu", 1), ("reference", 1), ("cpu", 2), ("reference", 2)];
    assert_eq!(
        paths,
        expected.map(|(path, batch)| (path.into(), batch.into())),
        "runs"
    );
    for run in runs {
        let number = |field: &str| run[field].as_f64().unwrap();
        assert!(number("min_ms") > 0.0, "{run}");
        assert!(number("min_ms") <= number("median_ms"), "{run}");
        assert!(number("median_ms") <= number("p95_ms"), "{run}");
        assert_eq!(run["samples_ms"].as_array().unwrap().len(), 2, "{run}");
        assert!(run["gpu_ms"].is_null(), "{run}");
        assert_eq!(run["size"], serde_json::json!([32, 32]), "{run}");
    }
    assert_eq!(json["precision"], "f32", "precision");
    for field in [
        "adapter_ms",
        "weights_ms",
        "pipelines_ms",
        "first_result_ms",
    ] {
        assert!(json["startup"][field].is_number(), "{field}");
    }
}

#[test]
fn half_precision_and_matrices_need_an_adapter_and_each_other() {
    Run::new(&[&["bench"], &TINY, &ON_CPU, &["--precision", "f16"]])
        .ends_with(2)
        .complains_of("--precision f16 needs an adapter");
    Run::new(&[&["bench"], &TINY, &["--cooperative-matrix"]])
        .ends_with(2)
        .complains_of("add --precision f16");
}

#[test]
fn a_reader_that_goes_away_is_no_error() {
    // More than a pipe holds, so that writing fails for sure.
    let inspect = [
        "inspect",
        "--plan",
        "--format",
        "json",
        "--arch",
        "resnet152",
    ];
    let mut child = command(&[&["-q"], &inspect])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let run = Run::of(child.wait_with_output().unwrap()).ends_with(0);
    assert!(run.stderr.is_empty(), "{}", run.stderr);
}

/// Needs an adapter.
mod gpu {
    use super::*;

    #[test]
    fn half_precision_is_compared_by_its_own_tolerance_and_named_by_bench() {
        let half = ["--precision", "f16", "--format", "json"];
        let json = Run::new(&[&["compare"], &TINY, &half]).ends_with(0).json();
        let error = json["logits"]["max_rel"].as_f64().unwrap();
        assert!(error > 1e-6, "halves are not exact: {error:e}");
        let strict = ["--layer-tolerance", "1e-6"];
        Run::new(&[&["compare"], &TINY, &half, &strict]).ends_with(5);
        // An adapter without cooperative matrices goes on without; one that has them must be right.
        let bench = ["bench", "--iterations", "1", "--cooperative-matrix"];
        let json = Run::new(&[&bench, &TINY, &half]).ends_with(0).json();
        assert_eq!(json["precision"], "f16");
    }

    #[test]
    fn classify_answers_as_on_the_cpu() {
        let folder = pictures();
        let classify = [
            "classify",
            path(folder.path()),
            "--format",
            "json",
            "--batch",
            "2",
        ];
        let on_cpu = Run::new(&[&classify, &TINY, &ON_CPU]).ends_with(0).json();
        // Without an adapter this would run on the CPU too, and prove nothing.
        let on_gpu = Run::new(&[&classify, &TINY]).ends_with(0).json();
        assert_ne!(on_gpu["adapter"]["backend"], "cpu", "an adapter is needed");
        let results = |json: &Value| json["results"].as_array().unwrap().clone();
        assert_eq!(results(&on_gpu).len(), 3, "images");
        for (gpu, cpu) in results(&on_gpu).iter().zip(&results(&on_cpu)) {
            assert_eq!(gpu["image"], cpu["image"], "order");
            for rank in 0..5 {
                assert_same_guess(&gpu["top"][rank], &cpu["top"][rank]);
            }
        }
    }

    #[test]
    fn compare_finds_each_layer_right_and_zero_tolerance_unreachable() {
        let folder = pictures();
        let picture = folder.path().join("b.PNG");
        let compare = [
            "compare",
            "--image",
            path(&picture),
            "--format",
            "json",
            "--tolerance",
            "0",
        ];
        let run = Run::new(&[&compare, &TINY]);
        let json = run.json();
        assert_ne!(json["adapter"]["backend"], "cpu", "an adapter is needed");
        let layers = json["layers"].as_array().unwrap();
        assert_eq!(
            layers[0]["name"], "image_to_tensor",
            "the image is normalised on the GPU"
        );
        for layer in layers {
            assert_eq!(layer["within"], true, "{layer}");
            assert!(layer["max_abs"].is_number(), "{layer}");
            assert!(layer["cosine"].as_f64().unwrap() > 0.999_999, "{layer}");
        }
        assert!(
            layers.iter().any(|layer| layer["name"] == "layer1.0.conv1"),
            "names"
        );
        assert_eq!(json["logits"]["within"], false, "{}", json["logits"]);
        run.ends_with(5).complains_of("logits");
    }

    #[test]
    fn bench_times_the_network_and_its_layers() {
        let bench = [
            "bench",
            "--format",
            "json",
            "--iterations",
            "1",
            "--warmup",
            "0",
            "--layers",
            "--startup",
        ];
        let json = Run::new(&[&bench, &TINY, &["--cpu"]]).ends_with(0).json();
        let runs = json["runs"].as_array().unwrap();
        assert_eq!(runs[0]["path"], "gpu", "an adapter is needed");
        assert_eq!(runs[1]["path"], "cpu", "asked for");
        for field in [
            "dispatches",
            "pipelines",
            "activation_bytes",
            "activation_lower_bound_bytes",
            "weight_bytes",
        ] {
            assert!(json["plan"][field].as_u64().unwrap() > 0, "{field}");
        }
        let layers = json["layers"].as_array().unwrap();
        assert_eq!(
            layers.len(),
            json["plan"]["dispatches"],
            "one for each dispatch"
        );
        let shares = layers.iter().map(|layer| layer["share"].as_f64().unwrap());
        assert!((shares.sum::<f64>() - 1.0).abs() < 1e-6, "parts of one");
        for starts in ["cold_samples_ms", "warm_samples_ms"] {
            let samples = json["startup"]["starts"][starts].as_array().unwrap();
            assert_eq!(samples.len(), 3, "{starts}");
            assert!(samples.iter().all(|ms| ms.as_f64().unwrap() > 0.0));
        }
    }
}
