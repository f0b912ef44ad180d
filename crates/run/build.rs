//! Finds the version of wgpu in the lock file: tuned choices hold for one version alone.

#[path = "src/lock_file.rs"]
mod lock_file;

use std::path::Path;

fn main() {
    let own = Path::new("Cargo.lock");
    let lock = if own.exists() {
        own
    } else {
        Path::new("../../Cargo.lock")
    };
    let wgpu = std::fs::read_to_string(lock)
        .ok()
        .and_then(|lock| lock_file::locked_version(&lock, "wgpu").map(str::to_owned));
    println!("cargo::rerun-if-changed={}", lock.display());
    println!("cargo::rustc-env=WGPU_VERSION={}", wgpu.unwrap_or_default());
}
