//! `scripts/gpu-report` reads what the program prints, and the program reads its report. Needs an adapter and Python 3.
//!
//! `scripts/gpu-report.d/test` tests the rest of it, without either.

#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::{Value, json};
use tempfile::TempDir;

const PROGRAM: &str = env!("CARGO_BIN_EXE_resnet");

/// Runs the program on a small image, a few times instead of hundreds, and only at batch 1 in f32.
const WRAPPER: &str = r#"#!/bin/sh
case "$*" in
    devices*) exec "$RESNET" "$@" ;;
    *f16* | *"--batch 8"* | *"--batch 32"*) echo "error: not tried" >&2; exit 1 ;;
    tune*) set -- tune --arch resnet18 --batch 1 --seconds 0.5 --format json ;;
esac
for word do
    shift
    case $word in 100 | 200) word=5 ;; esac
    set -- "$@" "$word"
done
exec "$RESNET" "$@" --size 32
"#;

/// What `scripts/gpu-report` packs, with the wrapper in place of the program.
fn unpack() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let scripts = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../scripts/gpu-report.d");
    for file in fs::read_dir(scripts).unwrap() {
        let file = file.unwrap();
        if file.file_type().unwrap().is_file() {
            fs::copy(file.path(), folder.path().join(file.file_name())).unwrap();
        }
    }
    fs::write(folder.path().join("about.json"), r#"{"tests": []}"#).unwrap();
    let program = folder.path().join("bin/resnet");
    fs::create_dir(program.parent().unwrap()).unwrap();
    fs::write(&program, WRAPPER).unwrap();
    fs::set_permissions(&program, Permissions::from_mode(0o755)).unwrap();
    folder
}

fn diff(before: &Path, after: &Path) -> Output {
    let mut command = Command::new(PROGRAM);
    command.args(["bench", "diff"]).args([before, after]);
    command.env_remove("RUST_LOG").output().unwrap()
}

fn read(file: PathBuf) -> Value {
    serde_json::from_str(&fs::read_to_string(file).unwrap()).unwrap()
}

#[test]
fn the_report_understands_the_program_and_the_program_the_report() {
    let folder = unpack();
    let steps = "devices,selftest,compare,bench,layers,tune";
    let run = Command::new("python3")
        .arg(folder.path().join("run"))
        .args(["--arch", "resnet18", "--minutes", "60", "--steps", steps])
        .env("RESNET", PROGRAM)
        .env_remove("RUST_LOG")
        .output()
        .unwrap_or_else(|error| panic!("the script needs python3: {error}"));
    let said = String::from_utf8_lossy(&run.stderr);
    assert_eq!(run.status.code(), Some(1), "some commands fail: {said}");

    let report = folder.path().join("report");
    let text = fs::read_to_string(report.join("report.md")).unwrap();
    assert!(!text.contains("not as expected"), "{text}");
    for section in [
        "Adapters",
        "Kernels against the reference",
        "Layers against the reference",
        "resnet18 with the default kernels",
        "Layers under the roofline, f32, batch 1",
        "Tuned kernels against the defaults, f32",
    ] {
        let lines = text.split(&format!("## {section}\n")).nth(1);
        let lines = lines.unwrap_or_else(|| panic!("no '{section}' in {text}"));
        let body = lines.split("\n## ").next().unwrap();
        assert!(body.contains("| f32 |") || body.contains("|---"), "{body}");
    }
    assert!(report.join("layers.svg").exists(), "the chart: {said}");

    let record = read(report.join("report.json"));
    let steps = record["report"]["steps"].as_array().unwrap();
    for step in steps {
        let fails = step["error"] == "error: not tried";
        let expected = if fails { "failed" } else { "ok" };
        assert_eq!(step["outcome"], expected, "{step}");
    }
    let good = steps.iter().filter(|step| step["outcome"] == "ok");
    let good: Vec<&Value> = good.map(|step| &step["name"]).collect();
    let expected = json!([
        "devices",
        "selftest f32",
        "compare f32",
        "bench f32 batch 1",
        "layers",
        "tune batch 1",
        "bench f32 tuned batch 1",
    ]);
    assert_eq!(json!(good), expected, "{said}");

    let (after, before) = (report.join("report.json"), folder.path().join("before"));
    fs::copy(&after, &before).unwrap();
    let same = diff(&before, &after);
    assert_eq!(same.status.code(), Some(0), "{same:?}");
    let shown = String::from_utf8(same.stdout).unwrap();
    assert!(shown.contains("gpu   no difference seen"), "{shown}");
}
