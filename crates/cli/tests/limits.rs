//! Networks and arguments that ask for too much are refused with one sentence instead of a crash.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::HashMap;
use std::path::Path;
use std::process::{Command, Output};

use safetensors::tensor::{Dtype, TensorView, serialize};

const PICTURE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../assets/torus.png");

fn resnet(arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_resnet"));
    let cache = concat!(env!("CARGO_TARGET_TMPDIR"), "/limits");
    command.env("XDG_CACHE_HOME", cache);
    command.args(arguments).output().unwrap()
}

/// The exit code; also checks the only line on stderr.
fn refused(output: &Output, parts: &[&str]) -> i32 {
    let text = String::from_utf8_lossy(&output.stderr);
    let errors: Vec<&str> = text
        .lines()
        .filter(|line| line.starts_with("error: ") && !line.contains("XDG_"))
        .collect();
    let [line] = errors[..] else {
        panic!("one line: {text}");
    };
    for part in parts {
        assert!(line.contains(part), "{part}: {line}");
    }
    output.status.code().expect("an exit, not a signal")
}

/// A self-describing file: the given layer, a global pool, a linear layer.
fn network(path: &Path, first: &str) {
    let graph = format!(
        r#"{{"version": 1, "input": "image", "size": [32, 32], "layers": [
        {{"name": "v0", "inputs": ["image"], {first}}},
        {{"name": "v1", "inputs": ["v0"], "op": "global_avg_pool"}},
        {{"name": "fc", "inputs": ["v1"], "op": "linear", "weight": "fc.weight", "bias": null}}],
        "features": "v1", "feature_map": "v0", "logits": "fc"}}"#
    );
    let rules = r#"{"size":[32,32],"resize":"squash","filter":"bilinear","crop":"round",
        "mean":[0,0,0],"std":[1,1,1],"channels":"rgb"}"#;
    let metadata = [
        ("graph", graph.as_str()),
        ("preprocess", rules),
        ("architecture", "small"),
        ("origin", "a test"),
    ];
    let metadata = metadata.map(|(key, text)| (key.to_owned(), text.to_owned()));
    let [conv, fc] = [vec![0; 4 * 3 * 4], vec![0; 5 * 3 * 4]];
    let tensors = [
        (
            "conv",
            TensorView::new(Dtype::F32, vec![3, 1, 2, 2], &conv).unwrap(),
        ),
        (
            "fc.weight",
            TensorView::new(Dtype::F32, vec![5, 3], &fc).unwrap(),
        ),
    ];
    let bytes = serialize(tensors, Some(HashMap::from(metadata))).unwrap();
    std::fs::write(path, bytes).unwrap();
}

#[test]
fn geometry_that_makes_no_sense_is_refused_where_it_is_read() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("network.safetensors");
    let conv = |stride: &str, padding: &str, groups: &str| {
        format!(
            r#""op": "conv2d", "weight": "conv", "bias": null, "stride": {stride},
            "padding": {padding}, "groups": {groups}"#
        )
    };
    let pool = |kernel: &str, stride: &str, padding: &str| {
        format!(
            r#""op": "max_pool", "kernel": {kernel}, "stride": {stride}, "padding": {padding},
            "zeros": false"#
        )
    };
    let none = "[0, 0, 0, 0]";
    let cases = [
        (
            conv("[1, 1]", "[2147483648, 2147483648, 0, 0]", "3"),
            "2147483648",
        ),
        (conv("[1, 1]", "[1073741824, 0, 0, 0]", "3"), "1073741824"),
        (
            conv(
                "[1, 1]",
                "[18446744073709551615, 18446744073709551615, 0, 0]",
                "3",
            ),
            "no sense",
        ),
        (conv("[4294967296, 1]", none, "3"), "4294967296"),
        (conv("[0, 1]", none, "3"), "at least 1"),
        (conv("[1, 1]", none, "0"), "groups"),
        (conv("[1, 1]", none, "18446744073709551615"), "groups"),
        (
            pool("[20000, 20000]", "[1, 1]", "[19999, 19999, 19999, 19999]"),
            "20000",
        ),
        (
            pool("[2, 2]", "[1, 1]", "[2, 0, 0, 0]"),
            "smaller than the window",
        ),
        (pool("[0, 2]", "[1, 1]", none), "at least 1"),
        (pool("[64, 64]", "[1, 1]", none), "64"),
    ];
    let name = path.display().to_string();
    for (first, part) in &cases {
        network(&path, first);
        for command in ["inspect", "selftest"] {
            let output = resnet(&[command, "--weights", &name]);
            assert_eq!(refused(&output, &[part]), 3, "{command}: {first}");
        }
    }
    // A sensible one is read.
    network(&path, &conv("[1, 1]", "[1, 1, 1, 1]", "3"));
    let output = resnet(&["inspect", "--weights", &name]);
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
}

#[test]
#[cfg(target_os = "linux")]
fn memory_is_counted_before_it_is_taken() {
    let large = ["--arch", "resnet18", "--size", "8192", "--batch", "1024"];
    for command in [&["bench"][..], &["compare"], &["profile", "-o", "x.json"]] {
        let output = resnet(&[command, &large[..]].concat());
        let code = refused(
            &output,
            &["1024 images of 8192x8192", "GiB", "smaller batch"],
        );
        assert_eq!(code, 1, "{command:?}");
    }
}

#[test]
#[cfg(target_os = "linux")]
fn a_limited_process_ends_with_a_sentence() {
    for kilobytes in [250_000, 400_000, 800_000] {
        let line = format!("ulimit -v {kilobytes} && exec \"$@\"");
        let output = Command::new("sh")
            .args(["-c", &line, "sh", env!("CARGO_BIN_EXE_resnet")])
            .args([
                "bench",
                "--arch",
                "resnet18",
                "--backend",
                "cpu",
                "--size",
                "1024",
            ])
            .args(["--batch", "32", "--iterations", "1"])
            .env("RAYON_NUM_THREADS", "2")
            .output()
            .unwrap();
        let code = refused(&output, &["32 images of 1024x1024", "GiB", "smaller batch"]);
        assert_eq!(code, 1, "{kilobytes} kB");
    }
}

#[test]
fn a_header_whose_length_looks_like_json_is_read() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("network.safetensors");
    network(
        &path,
        r#""op": "conv2d", "weight": "conv", "bias": null, "stride": [1, 1], "padding": [0, 0, 0, 0],
        "groups": 3"#,
    );
    let bytes = std::fs::read(&path).unwrap();
    let length = u64::from_le_bytes(bytes[..8].try_into().unwrap());
    let (header, data) = bytes[8..].split_at(usize::try_from(length).unwrap());
    // Then the first byte of the length is `{`.
    let longer = (header.len()..).find(|length| length % 256 == 123).unwrap();
    let mut spaced = header.to_vec();
    spaced.resize(longer, b' ');
    let start = (longer as u64).to_le_bytes();
    std::fs::write(&path, [&start[..], &spaced, data].concat()).unwrap();
    let output = resnet(&["inspect", "--weights", path.to_str().unwrap()]);
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
}

#[test]
fn answers_that_are_no_numbers_are_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("network.safetensors");
    network(
        &path,
        r#""op": "conv2d", "weight": "conv", "bias": null, "stride": [1, 1], "padding": [0, 0, 0, 0],
        "groups": 3"#,
    );
    let mut bytes = std::fs::read(&path).unwrap();
    let end = bytes.len();
    // Both tensors hold numbers as large as floats can be.
    for number in bytes[end - 4 * (3 * 4 + 5 * 3)..].chunks_exact_mut(4) {
        number.copy_from_slice(&3e38f32.to_le_bytes());
    }
    std::fs::write(&path, bytes).unwrap();
    let name = path.display().to_string();
    let picture = folder.path().join("map.png").display().to_string();
    for backend in [&["--backend", "cpu"][..], &[]] {
        for arguments in [
            &["classify", PICTURE][..],
            &["classify", "--format", "json", PICTURE],
            &["embed", PICTURE],
            &["cam", PICTURE, "--at", "v0", "-o", &picture],
        ] {
            let output = resnet(&[arguments, &["--weights", &name], backend].concat());
            let code = refused(&output, &["is no answer", "`resnet compare`"]);
            assert_eq!(code, 1, "{arguments:?}");
            assert!(output.stdout.is_empty(), "{arguments:?}");
            assert!(!Path::new(&picture).exists(), "no picture of it");
        }
    }
}
