//! Finds out whether the program is built from the repository, which contains the bundled network
//! and one lock file for all packages, or from its own package, which would be too large with the
//! network.

#[path = "src/lock_file.rs"]
mod lock_file;

use std::path::Path;

fn main() {
    let bundled = "../../models/shapes/shapes.f16.safetensors";
    println!("cargo::rustc-check-cfg=cfg(bundled_network)");
    println!("cargo::rerun-if-changed={bundled}");
    if Path::new(bundled).exists() {
        println!("cargo::rustc-cfg=bundled_network");
    }

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
