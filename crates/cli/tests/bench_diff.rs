//! The records of `resnet bench`, and what `resnet bench diff` says about two of them.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Output};

use serde_json::{Value, json};
use tempfile::TempDir;

fn resnet(args: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_resnet"));
    command.args(args).env_remove("RUST_LOG");
    command.output().unwrap()
}

fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

/// A run on the GPU path, 224 × 224.
fn run(batch: usize, samples: &[f64]) -> Value {
    json!({ "path": "gpu", "batch": batch, "size": [224, 224], "samples_ms": samples })
}

/// The fields of a `resnet bench` record that are read.
fn record(runs: &[Value]) -> Value {
    json!({
        "schema_version": 1,
        "adapter": {
            "name": "Some GPU", "backend": "vulkan", "driver": "d", "driver_info": "1.0",
            "type": "discrete GPU",
        },
        "model": { "name": "resnet50", "fusion": "full" },
        "precision": "f32",
        "kernel_set_hash": "00",
        "weights_hash": "11",
        "threads": 2,
        "plan": { "path": "textures", "choices_hash": "13", "dispatches": 84 },
        "runs": runs,
    })
}

/// Two records, written to files.
struct Pair {
    _folder: TempDir,
    before: PathBuf,
    after: PathBuf,
}

impl Pair {
    fn new(before: &Value, after: &Value) -> Self {
        Self::of_texts(&before.to_string(), &after.to_string())
    }

    fn of_texts(before_text: &str, after_text: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let before = folder.path().join("before.json");
        let after = folder.path().join("after.json");
        fs::write(&before, before_text).unwrap();
        fs::write(&after, after_text).unwrap();
        Self {
            _folder: folder,
            before,
            after,
        }
    }

    fn diff(&self, flags: &[&str]) -> Output {
        let files = [self.before.to_str().unwrap(), self.after.to_str().unwrap()];
        resnet(&[&["bench", "diff"], &files[..], flags].concat())
    }
}

/// Ten times, spread around `middle`.
fn around(middle: f64) -> Vec<f64> {
    (0..10)
        .map(|i| middle * (1.0 + 0.001 * f64::from(i - 5)))
        .collect()
}

#[test]
fn a_slower_run_is_exit_code_6_and_the_other_way_round_it_is_none() {
    let fast = record(&[run(1, &around(10.0))]);
    let slow = record(&[run(1, &around(12.0))]);

    let regression = Pair::new(&fast, &slow).diff(&[]);
    assert_eq!(regression.status.code(), Some(6), "{regression:?}");
    assert!(stdout(&regression).contains("regression"), "{regression:?}");
    assert!(
        stdout(&regression).contains("1.200"),
        "the ratio: {regression:?}"
    );
    let message = stderr(&regression);
    assert_eq!(message.lines().count(), 1, "one line: {message}");
    assert!(message.contains("gpu, batch 1, 224×224"), "{message}");

    let improvement = Pair::new(&slow, &fast).diff(&[]);
    assert_eq!(improvement.status.code(), Some(0), "{improvement:?}");
    assert!(stdout(&improvement).contains("faster"), "{improvement:?}");
}

#[test]
fn the_threshold_and_the_scatter_decide() {
    let before = record(&[run(1, &around(10.0))]);
    let slower = Pair::new(&before, &record(&[run(1, &around(10.3))]));
    assert_eq!(slower.diff(&[]).status.code(), Some(0), "below 1.05");
    let strict = slower.diff(&["--threshold", "1.01"]);
    assert_eq!(strict.status.code(), Some(6), "{strict:?}");

    // The median is a fifth higher, but so is the spread.
    let noisy = [8.0, 9.0, 9.5, 10.0, 12.0, 12.0, 13.0, 14.0, 20.0];
    let noise = Pair::new(&before, &record(&[run(1, &noisy)])).diff(&[]);
    assert_eq!(noise.status.code(), Some(0), "{noise:?}");
    assert!(stdout(&noise).contains("no difference seen"), "{noise:?}");
}

#[test]
fn json_has_the_ratio_its_interval_and_what_is_missing() {
    let before = record(&[run(1, &around(10.0)), run(8, &around(70.0))]);
    let after = record(&[run(1, &around(11.0)), run(4, &[40.0; 6])]);
    let output = Pair::new(&before, &after).diff(&["--format", "json", "--threshold", "1.2"]);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(report["schema_version"], 1);
    let [run] = &report["runs"].as_array().unwrap()[..] else {
        panic!("one run matches: {report}");
    };
    assert_eq!(run["verdict"], "slower", "below the threshold");
    let number = |value: &Value| value.as_f64().unwrap();
    let [low, high] = [&run["interval"][0], &run["interval"][1]].map(number);
    assert!((number(&run["ratio"]) - 1.1).abs() < 1e-9, "{run}");
    assert!(low < 1.1 && 1.1 < high, "{run}");
    assert!(high - low < 0.02, "{run}");
    assert_eq!(report["only_before"][0]["batch"], 8);
    assert_eq!(report["only_after"][0]["batch"], 4);
    let again = Pair::new(&before, &after).diff(&["--format", "json", "--threshold", "1.2"]);
    let again: Value = serde_json::from_slice(&again.stdout).unwrap();
    assert_eq!(again["runs"], report["runs"], "the same random numbers");
}

#[test]
fn few_samples_give_no_interval_and_no_regression() {
    let before = record(&[run(1, &[10.0, 10.1])]);
    let after = record(&[run(1, &around(20.0))]);
    let output = Pair::new(&before, &after).diff(&[]);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert!(stdout(&output).contains("too few samples"), "{output:?}");
}

#[test]
fn other_circumstances_are_warned_of() {
    let before = record(&[run(1, &around(10.0))]);
    let same = Pair::new(&before, &before).diff(&[]);
    assert_eq!(stderr(&same), "", "nothing differs");

    let mut after = before.clone();
    after["adapter"]["name"] = json!("Other GPU");
    after["adapter"]["driver_info"] = json!("2.0\u{1b}[31m");
    after["weights_hash"] = json!("12");
    after["plan"]["path"] = json!("buffers");
    after["plan"]["choices_hash"] = json!("14");
    after.as_object_mut().unwrap().remove("kernel_set_hash");
    let output = Pair::new(&before, &after).diff(&[]);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let notes = stderr(&output);
    for note in [
        r#"warning: adapter differs: "Some GPU" and "Other GPU""#,
        r#"warning: driver version differs: "1.0" and "2.0\u{1b}[31m""#,
        r#"warning: weights hash differs: "11" and "12""#,
        r#"warning: path of the kernels differs: "textures" and "buffers""#,
        r#"warning: choice of kernels differs: "13" and "14""#,
        r#"warning: kernel set differs: "00" and not recorded"#,
    ] {
        assert!(notes.contains(note), "{note} in {notes}");
    }
    assert_eq!(notes.lines().count(), 6, "{notes}");
}

#[test]
fn records_without_a_common_run_are_refused() {
    let before = record(&[run(1, &around(10.0))]);
    let mut other = run(1, &around(10.0));
    other["size"] = json!([224, 256]);
    for after in [record(&[other]), record(&[])] {
        let output = Pair::new(&before, &after).diff(&[]);
        assert_eq!(output.status.code(), Some(2), "{output:?}");
        assert_eq!(stdout(&output), "", "nothing to show");
        let message = stderr(&output);
        assert!(message.contains("gpu, batch 1, 224×224"), "{message}");
        assert_eq!(message.lines().count(), 1, "{message}");
    }
}

#[test]
fn files_that_are_no_records_are_one_line_that_names_them() {
    let good = record(&[run(1, &around(10.0))]).to_string();
    let mut future = record(&[run(1, &around(10.0))]);
    future["schema_version"] = json!(2);
    let nested = "[".repeat(100_000);
    for (bad, reason) in [
        ("", "EOF"),
        ("{\"schema_version\": 1", "EOF"),
        ("[1, 2]", "no record"),
        ("\u{0}\u{1}", "no record"),
        (nested.as_str(), "no record"),
        (r#"{"schema_version":1,"model":{}}"#, "no record"),
        (&future.to_string(), "schema_version is 2"),
        (&record(&[run(1, &[])]).to_string(), "samples_ms"),
        (&record(&[run(1, &[10.0, 0.0])]).to_string(), "samples_ms"),
        (&record(&[run(1, &[-1.0])]).to_string(), "samples_ms"),
        (&good.replace("10.0", "1e999"), "out of range"),
    ] {
        let output = Pair::of_texts(&good, bad).diff(&[]);
        let message = stderr(&output);
        assert_eq!(output.status.code(), Some(1), "{reason}: {output:?}");
        assert_eq!(message.lines().count(), 1, "{message}");
        assert!(message.contains("after.json"), "{message}");
        assert!(message.contains(reason), "{reason}: {message}");
    }
    let missing = resnet(&["bench", "diff", "nowhere.json", "nowhere.json"]);
    assert_eq!(missing.status.code(), Some(1), "{missing:?}");
    assert!(stderr(&missing).contains("nowhere.json"), "{missing:?}");
}

#[test]
fn flags_of_the_measurement_do_not_go_with_diff() {
    for args in [
        &["bench", "--cpu", "diff", "a.json", "b.json"][..],
        &["bench", "diff", "a.json"],
        &["bench", "diff", "a.json", "b.json", "--threshold", "0.9"],
        &["bench", "--plot", "chart.svg"],
        &["bench", "--layers", "--plot", "chart.gif"],
    ] {
        let output = resnet(args);
        assert_eq!(output.status.code(), Some(2), "{args:?}: {output:?}");
    }
}

#[test]
fn a_record_says_what_was_measured_and_can_be_compared() {
    let bench = |flags: &[&str]| -> Value {
        let fixed = [
            "bench",
            "-q",
            "--backend",
            "cpu",
            "--size",
            "32",
            "--warmup",
            "0",
            "--iterations",
            "6",
            "--format",
            "json",
        ];
        let output = resnet(&[&fixed[..], flags].concat());
        assert_eq!(output.status.code(), Some(0), "{output:?}");
        serde_json::from_slice(&output.stdout).unwrap()
    };
    let record = bench(&["--arch", "resnet18"]);
    let unfused = bench(&["--arch", "resnet18", "--fusion", "none", "--batch", "2"]);
    let other = bench(&["--arch", "resnet34"]);

    for field in ["name", "backend", "driver", "driver_info", "type"] {
        assert!(record["adapter"][field].is_string(), "adapter.{field}");
    }
    for field in ["kernel_set_hash", "weights_hash"] {
        let hash = record[field].as_str().unwrap();
        assert_eq!(hash.len(), 32, "{field}: {hash}");
        assert_eq!(unfused[field], record[field], "{field}");
    }
    assert_ne!(other["weights_hash"], record["weights_hash"]);
    assert_eq!(other["kernel_set_hash"], record["kernel_set_hash"]);
    let versions = &record["versions"];
    assert_eq!(versions["resnet-wgpu"], env!("CARGO_PKG_VERSION"));
    assert!(versions["wgpu"].is_string(), "{versions}");
    assert!(record["threads"].as_u64().unwrap() >= 1, "threads");
    assert_eq!(record["model"]["fusion"], "full");
    assert_eq!(unfused["model"]["fusion"], "none");
    let run = &record["runs"][0];
    assert_eq!(run["path"], "cpu");
    assert_eq!(run["batch"], 1);
    assert_eq!(run["size"], json!([32, 32]));
    assert_eq!(run["samples_ms"].as_array().unwrap().len(), 6);
    assert_eq!(run["gpu_samples_ms"], json!([]));

    let output = Pair::new(&record, &record).diff(&[]);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert_eq!(stderr(&output), "", "nothing differs");
    let output = Pair::new(&record, &unfused).diff(&[]);
    assert_eq!(output.status.code(), Some(2), "other batch: {output:?}");
}
