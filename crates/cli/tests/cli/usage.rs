//! The command line, devices, and output: help, usage errors and exit codes.

use std::process::Stdio;

use resnet_wgpu::picture::Preprocess;

use super::*;

#[test]
fn every_command_has_help_with_examples() {
    for name in [
        "devices", "classify", "embed", "search", "cam", "inspect", "compare", "bench",
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
fn shells_and_manuals_know_every_command() {
    for shell in ["bash", "zsh", "fish", "powershell"] {
        let run = Run::new(&[&["completions", shell]]).ends_with(0);
        for word in ["classify", "no-exif", "bicubic-is-no-flag"] {
            let known = word != "bicubic-is-no-flag";
            assert_eq!(run.stdout.contains(word), known, "{shell}: {word}");
        }
    }
    let folder = TempDir::new().unwrap();
    let pages = folder.path().join("man1");
    Run::new(&[&["man", path(&pages)]]).ends_with(0);
    for page in ["resnet", "resnet-classify", "resnet-bench-diff"] {
        let text = std::fs::read_to_string(pages.join(format!("{page}.1"))).expect(page);
        assert!(text.contains(".TH") && text.contains("OPTIONS"), "{page}");
    }
    let mut pages = std::fs::read_dir(&pages).unwrap();
    let repeats = |name: std::ffi::OsString| name.to_string_lossy().contains("help");
    assert!(
        !pages.any(|page| repeats(page.unwrap().file_name())),
        "no page repeats others"
    );
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
        "inspect a.onnx --weights b.onnx",
        "devices --precision f16",
        "completions tcsh",
        "inspect --preprocess unheard-of",
        "classify",
        "classify x.png --batch 0",
        "classify x.png --backend cpu --device 0",
        "classify x.png --backend cpu --path textures",
        "classify x.png --backend cpu --winograd f4",
        "classify x.png --backend cpu --cooperative-matrix",
        "classify x.png --entry encoder_q",
        "inspect --arch resnet18 --output fc",
        "profile -o trace.txt",
        "compare --tolerance -1",
        "compare --golden x --image y",
        "bench --batch 1,,2",
        "bench --seconds soon",
        "bench --warmup 100001",
    ] {
        let words: Vec<&str> = line.split_whitespace().collect();
        let run = Run::new(&[&words]).ends_with(2);
        assert!(run.stdout.is_empty(), "'{line}' prints {}", run.stdout);
    }
    for list in ["glide", "vulkan,glide"] {
        let run = command(&[&["devices"]]).env("WGPU_BACKEND", list).output();
        Run::of(run.unwrap()).ends_with(2).complains_of("glide");
    }
}

#[test]
fn help_lists_every_preprocessing() {
    let run = Run::new(&[&["classify", "--help"]]).ends_with(0);
    for name in Preprocess::NAMES {
        assert!(run.stdout.contains(name), "{name}: {}", run.stdout);
    }
}

#[test]
fn a_back_end_without_adapters_is_named() {
    let elsewhere = if cfg!(target_vendor = "apple") {
        "dx12"
    } else {
        "metal"
    };
    Run::new(&[&["classify", "x.png", "--backend", elsewhere], &TINY])
        .ends_with(4)
        .complains_of(&format!("no adapter for {elsewhere}"));
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
    // More than a pipe holds, so that writing is sure to fail.
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
