//! Commands on the GPU. Needs an adapter.

use super::*;

#[test]
fn half_precision_is_compared_by_its_own_tolerance_and_named_by_bench() {
    let half = ["--precision", "f16", "--format", "json"];
    let json = Run::new(&[&["compare"], &TINY, &half]).ends_with(0).json();
    let error = json["logits"]["max_rel"].as_f64().unwrap();
    assert!(error > 1e-6, "halves are not exact: {error:e}");
    let strict = ["--layer-tolerance", "1e-6"];
    Run::new(&[&["compare"], &TINY, &half, &strict]).ends_with(5);
    // An adapter without cooperative matrices must do without; with them, results must be right.
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
    // Without an adapter this would run on the CPU too and prove nothing.
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

#[test]
fn what_halves_cannot_hold_is_named_with_its_layer() {
    let folder = pictures();
    // Its weights are all above zero, so every layer multiplies what it reads.
    let weights = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../formats/tests/data/torch/zip.pth"
    );
    let image = folder.path().join("a.png");
    let classify = [
        "classify",
        path(&image),
        "--weights",
        weights,
        "--size",
        "32",
    ];
    Run::new(&[&classify]).ends_with(0);
    let half = ["--precision", "f16"];
    Run::new(&[&classify, &half])
        .ends_with(1)
        .complains_of("half precision ends at 65504");
    let run = Run::new(&[&classify, &half, &["--allow-overflow"]]).ends_with(0);
    assert!(run.stderr.contains("warning: '"), "{}", run.stderr);
}

/// Mesa's layer complains on stderr where nobody is logged in, which says nothing to anybody.
#[cfg(target_os = "linux")]
#[test]
fn without_a_session_stderr_is_empty() {
    for folder in [None, Some(""), Some("relative")] {
        let mut command = command(&[&["devices"]]);
        command.env_remove("XDG_RUNTIME_DIR");
        if let Some(folder) = folder {
            command.env("XDG_RUNTIME_DIR", folder);
        }
        let run = Run::of(command.output().unwrap()).ends_with(0);
        assert_eq!(run.stderr, "", "{folder:?}");
    }
}
