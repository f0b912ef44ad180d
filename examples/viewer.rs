//! Starts the viewer, an egui program with a manifest of its own: a test run of the library does not compile
//! a toolkit for windows. What it does is in `examples/viewer`.
//!
//! ```sh
//! cargo run --release --example viewer -- [FILES]
//! cargo run --release --example viewer -- --headless --out FOLDER
//! ```

use std::process::{Command, ExitCode};

/// Runs it with the arguments of this program, optimised whatever this program is.
pub(crate) fn main() -> ExitCode {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let manifest = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/viewer/Cargo.toml");
    let status = Command::new(cargo)
        .args(["run", "--release", "--manifest-path", manifest, "--"])
        .args(std::env::args_os().skip(1))
        .status();
    match status {
        Ok(status) if status.success() => ExitCode::SUCCESS,
        Ok(_) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("cargo cannot be run: {error}");
            ExitCode::FAILURE
        }
    }
}
