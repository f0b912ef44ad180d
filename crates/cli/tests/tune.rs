//! Tuning, by the library and by the program. Needs an adapter.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "../../../tests/common/mod.rs"]
mod common;

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use common::{Numbers, assert_close, gpu, reference};
use resnet_wgpu::gpu::Session;
use resnet_wgpu::graph::Graph;
use resnet_wgpu::internals::compare::Tolerance;
use resnet_wgpu::internals::graph::{Conv2d, Op};
use resnet_wgpu::internals::plan::{ConvShape, candidates};
use resnet_wgpu::plan::{Capabilities, Plan, PlanOptions};
use resnet_wgpu::tensor::{Shape, Tensor};
use resnet_wgpu::tune::{TuneProgress, tune};

/// Two 3×3 convolutions of equal shape, and a 1×1 convolution with a residual.
fn network() -> (Graph, Tensor) {
    let mut numbers = Numbers::new(5);
    let mut graph = Graph::new();
    let shape = Shape::new(2, 12, 11, 9);
    let input = graph.input("input", shape).unwrap();
    let mut x = input;
    for name in ["a", "b"] {
        let weight = graph.param(name, numbers.tensor(&[12, 12, 3, 3]));
        let conv = Conv2d::new(weight).padding(1);
        x = graph.add(name, Op::Conv2d(conv), &[x]).unwrap();
    }
    let weight = graph.param("c", numbers.tensor(&[12, 12, 1, 1]));
    let y = graph.add("c", Op::Conv2d(Conv2d::new(weight)), &[x, input]);
    graph.mark_output(y.unwrap()).unwrap();
    (graph, numbers.tensor(&shape.dims()))
}

#[test]
fn every_distinct_layer_is_measured_and_the_choices_compute_the_same() {
    let gpu = gpu();
    let (graph, x) = network();
    let options = PlanOptions::new(Capabilities::of(&gpu.device));
    let mut seen = Vec::new();
    let budget = Duration::from_secs(600);
    let tuned = tune(&gpu, &graph, &options, budget, &mut |progress| {
        if let TuneProgress::Layer { shape, total, .. } = progress {
            assert_eq!(total, 2, "distinct layers");
            seen.push(*shape);
        }
    })
    .unwrap();
    assert_eq!(tuned.unmeasured, 0, "there was time enough");
    let measured: Vec<ConvShape> = tuned.layers.iter().map(|l| l.shape).collect();
    assert_eq!(measured, seen, "progress told of each");
    let counts: Vec<usize> = tuned.layers.iter().map(|l| l.count).collect();
    assert_eq!(counts.iter().sum::<usize>(), 3, "{counts:?}");
    for layer in &tuned.layers {
        let possible = candidates(&layer.shape, &options).unwrap();
        assert_eq!(layer.default, possible[0], "{}", layer.shape);
        assert!(possible.contains(&layer.choice), "{}", layer.shape);
        assert_eq!((layer.measured, layer.wrong), (possible.len(), 0));
        assert!(0.0 < layer.choice_ms && layer.choice_ms <= layer.default_ms);
    }
    let changed = tuned.layers.iter().filter(|l| l.choice != l.default);
    let changed = changed.map(|l| (l.shape, l.choice)).collect();
    let options = options.choices(changed);
    let plan = Plan::new(&graph, &options).unwrap();
    let session = Session::new(&gpu, &plan).unwrap();
    let want = &reference(&graph, &x)[0];
    let got = session.run(&x).unwrap();
    let scale = want.data().iter().fold(0.0f32, |a, b| a.max(b.abs()));
    let tolerance = Tolerance {
        atol: scale * 1e-4,
        rtol: 0.0,
    };
    assert_close("as tuned", want, &got[0], tolerance);
}

#[test]
fn without_time_every_default_stands() {
    let gpu = gpu();
    let (graph, _) = network();
    let options = PlanOptions::new(Capabilities::of(&gpu.device));
    let tuned = tune(&gpu, &graph, &options, Duration::ZERO, &mut |_| ()).unwrap();
    assert_eq!((tuned.layers.len(), tuned.unmeasured), (0, 2));
    assert!(tuned.networks.is_none() && tuned.choices.is_empty());
}

/// The vector width of llvmpipe, in bits.
const VECTORS: &str = "LP_NATIVE_VECTOR_WIDTH";

/// Runs the program on a tiny network and returns its stdout and stderr.
#[track_caller]
fn resnet(args: &[&str], cache: &Path, code: i32) -> (String, String) {
    let tiny = ["--arch", "resnet18", "--size", "32", "--cache-dir"];
    let output = Command::new(env!("CARGO_BIN_EXE_resnet"))
        .args([args, &tiny].concat())
        .arg(cache)
        .env_remove("RUST_LOG")
        // The setting of this process: the program itself would ask for wider vectors.
        .env(VECTORS, env::var_os(VECTORS).unwrap_or("256".into()))
        .output()
        .unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    let (stdout, stderr) = (text(output.stdout), text(output.stderr));
    assert_eq!(output.status.code(), Some(code), "{stdout}\n{stderr}");
    (stdout, stderr)
}

/// The only file of tuned choices in a folder.
#[track_caller]
fn tuned_file(folder: &Path) -> PathBuf {
    let files = std::fs::read_dir(folder)
        .unwrap()
        .map(|f| f.unwrap().path());
    let mut tuned = files.filter(|f| {
        f.to_string_lossy().contains("tuned-") && f.to_string_lossy().ends_with(".json")
    });
    let file = tuned.next().unwrap();
    assert_eq!(tuned.next(), None, "one file");
    file
}

#[test]
fn a_dry_run_stores_nothing_and_a_damaged_file_is_one_line() {
    let folder = tempfile::tempdir().unwrap();
    let cache = folder.path().join("cache");
    let tune = ["tune", "--seconds", "0", "--format", "json"];
    let (stdout, _) = resnet(&[&tune[..], &["--dry-run"]].concat(), &cache, 0);
    let json: serde_json::Value = serde_json::from_str(&stdout).unwrap();
    assert_eq!(json["schema_version"], 1);
    assert_ne!(json["adapter"]["backend"], "cpu", "an adapter is needed");
    assert!(!cache.exists(), "nothing is stored");

    resnet(&tune, &cache, 0);
    let file = tuned_file(&cache);
    let bench = ["bench", "--iterations", "1", "--warmup", "0"];
    let complaints = |stderr: &str| {
        let lines = stderr.lines().filter(|line| line.contains("damaged"));
        lines.map(str::to_owned).collect::<Vec<String>>()
    };
    let (_, stderr) = resnet(&bench, &cache, 0);
    assert_eq!(complaints(&stderr).len(), 0, "{stderr}");
    std::fs::write(&file, "{").unwrap();
    let (_, stderr) = resnet(&bench, &cache, 0);
    let lines = complaints(&stderr);
    assert_eq!(lines.len(), 1, "{stderr}");
    assert!(lines[0].contains(file.to_str().unwrap()), "{stderr}");
    let (_, stderr) = resnet(&[&bench[..], &["--untuned"]].concat(), &cache, 0);
    assert_eq!(
        complaints(&stderr).len(),
        0,
        "it is not even read: {stderr}"
    );
}

#[test]
fn what_is_stored_is_used_by_the_next_start_which_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let tune = ["tune", "--seconds", "0", "--format", "json"];
    resnet(&tune, folder.path(), 0);
    let file = tuned_file(folder.path());
    // Pretends that another candidate won for the stem, whatever the device.
    let stem = Shape::new(1, 3, 32, 32);
    let gpu = gpu();
    let options = PlanOptions::new(Capabilities::of(&gpu.device));
    let mut graph = Graph::new();
    let input = graph.input("input", stem).unwrap();
    let weight = graph.param("weight", Tensor::from_fn(&[64, 3, 7, 7], |_| 1.0));
    let conv = Conv2d {
        relu: true,
        ..Conv2d::new(weight).stride(2).padding(3)
    };
    graph.add("stem", Op::Conv2d(conv), &[input]).unwrap();
    let shape = ConvShape::of(&graph, &graph.nodes()[0]).unwrap();
    let possible = candidates(&shape, &options).unwrap();
    let choice = possible[possible.len() - 1].to_string();
    let mut record: serde_json::Value =
        serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
    record["layers"][shape.to_string()] =
        serde_json::json!({"choice": choice, "ms": 1.0, "default_ms": 2.0});
    std::fs::write(&file, record.to_string()).unwrap();

    let bench = ["bench", "-v", "--iterations", "1", "--warmup", "0"];
    let said = |stderr: &str| stderr.contains("1 distinct layers run as tuned");
    let (_, stderr) = resnet(&bench, folder.path(), 0);
    assert!(said(&stderr), "{stderr}");
    let (_, stderr) = resnet(&[&bench[..], &["--untuned"]].concat(), folder.path(), 0);
    assert!(!said(&stderr), "{stderr}");
}

#[test]
fn the_selftest_runs_every_kernel_of_the_network() {
    let folder = tempfile::tempdir().unwrap();
    for fusion in ["full", "none"] {
        let selftest = ["selftest", "--format", "json", "--fusion", fusion];
        let (stdout, _) = resnet(&selftest, folder.path(), 0);
        let json: serde_json::Value = serde_json::from_str(&stdout).unwrap();
        assert_eq!(json["within"], true, "{stdout}");
        let cases = json["cases"].as_array().unwrap();
        let layers: Vec<&str> = cases.iter().filter_map(|c| c["layer"].as_str()).collect();
        for layer in ["conv1", "maxpool", "avgpool", "fc"] {
            assert!(layers.contains(&layer), "{layer} of {layers:?}");
        }
    }
}

#[test]
fn a_profile_has_a_row_for_each_run_and_a_span_for_each_kernel() {
    let folder = tempfile::tempdir().unwrap();
    let nowhere = folder.path().join("new").join("trace.json");
    let (_, stderr) = resnet(
        &["profile", "-o", nowhere.to_str().unwrap()],
        folder.path(),
        1,
    );
    assert!(stderr.contains("new/trace.json"), "{stderr}");
    let file = folder.path().join("trace.json");
    let name = file.to_str().unwrap();
    resnet(
        &["profile", "--iterations", "2", "-o", name],
        folder.path(),
        0,
    );
    let trace: serde_json::Value = serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
    let events = trace["traceEvents"].as_array().unwrap();
    for run in [1, 2] {
        let of_run = |e: &&serde_json::Value| e["ph"] == "X" && e["tid"] == run;
        let spans: Vec<_> = events.iter().filter(of_run).collect();
        let mut end = 0.0;
        for span in &spans {
            let [begin, length] = ["ts", "dur"].map(|f| span[f].as_f64().unwrap());
            assert!(begin >= end - 1e-6 && length >= 0.0, "in order: {span}");
            end = begin + length;
        }
        assert!(end > 0.0, "time passes");
        let names: Vec<_> = spans.iter().filter_map(|s| s["name"].as_str()).collect();
        assert!(
            names.contains(&"conv1") && names.contains(&"fc"),
            "{names:?}"
        );
    }
    resnet(
        &["profile", "--backend", "cpu", "-o", name],
        folder.path(),
        4,
    );
}
