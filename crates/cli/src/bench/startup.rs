//! Times the program from its start to the first result, each time in a process of its own.

use std::env;
use std::process::{Command, Stdio};

use serde::Serialize;

use crate::failure::Failure;
use crate::stats::median;

/// Number of starts of each kind.
const STARTS: usize = 3;

/// Environment variables that switch driver caches off: Mesa's and NVIDIA's.
const NO_DRIVER_CACHE: [(&str, &str); 2] = [
    ("MESA_SHADER_CACHE_DISABLE", "true"),
    ("__GL_SHADER_DISK_CACHE", "0"),
];

/// Milliseconds from the start of a process until its first result is on the host.
#[derive(Debug, Serialize)]
pub(super) struct Starts {
    /// With nothing compiled in advance, as far as a program can ensure that: the caches of Metal,
    /// DirectX and the operating system cannot be switched off.
    pub(super) cold_ms: f64,
    pub(super) cold_samples_ms: Vec<f64>,
    /// With the caches that earlier starts left behind.
    pub(super) warm_ms: f64,
    pub(super) warm_samples_ms: Vec<f64>,
}

impl Starts {
    /// Starts this program with the same arguments, alternating between cold and warm.
    pub(super) fn measure() -> Result<Self, Failure> {
        // Fills the caches.
        start(false)?;
        let (mut cold, mut warm) = (Vec::new(), Vec::new());
        for _ in 0..STARTS {
            cold.push(start(true)?);
            warm.push(start(false)?);
        }
        Ok(Self {
            cold_ms: median(&cold),
            cold_samples_ms: cold,
            warm_ms: median(&warm),
            warm_samples_ms: warm,
        })
    }
}

/// Starts the program once; it prints its time on stdout.
fn start(is_cold: bool) -> Result<f64, Failure> {
    let failure = |error: String| Failure::runtime(format!("a start cannot be timed: {error}"));
    let program = env::current_exe().map_err(|error| failure(error.to_string()))?;
    let mut command = Command::new(program);
    command.args(env::args_os().skip(1)).arg("--start-only");
    command.stdin(Stdio::null()).stderr(Stdio::null());
    if is_cold {
        command.arg("--no-pipeline-cache").envs(NO_DRIVER_CACHE);
    }
    let output = command
        .output()
        .map_err(|error| failure(error.to_string()))?;
    let text = String::from_utf8_lossy(&output.stdout);
    match text.trim().parse() {
        Ok(ms) if output.status.success() => Ok(ms),
        _ => Err(failure(format!("it ended with {}", output.status))),
    }
}
