//! The program as a user runs it: its output and its exit codes. The module `gpu` needs an adapter.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod gpu;
mod images;
mod measures;
mod usage;
mod weights;

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use image::{ImageFormat, Rgb, RgbImage};
use serde_json::Value;
use tempfile::TempDir;

/// Flags for the smallest network.
const TINY: [&str; 4] = ["--arch", "resnet18", "--size", "32"];
const ON_CPU: [&str; 2] = ["--backend", "cpu"];

/// The exit code, stdout and stderr of one run.
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

    /// Checks that the error line tells the user what matters.
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
    // Choices tuned by this machine's user must not affect the tests.
    let caches = Path::new(env!("CARGO_TARGET_TMPDIR")).join("caches");
    command.env("RESNET_CACHE_DIR", caches);
    command
}

/// A folder of pictures, one of which is not square.
fn pictures() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (name, width, height) in [("a.png", 40, 40), ("b.PNG", 61, 33), ("c.jpg", 35, 50)] {
        let picture = RgbImage::from_fn(width, height, |x, y| {
            let wave = |step: u32| u8::try_from((x * step + y * (step + 3)) % 256).unwrap();
            Rgb([wave(5), wave(2), wave(width / 9)])
        });
        // The content determines the kind of file, not the name.
        let file = folder.path().join(name);
        picture.save_with_format(file, ImageFormat::Png).unwrap();
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

/// Compares up to rounding: other sizes and devices sum in a different order.
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
