//! Finds out whether the program is built from the repository, which contains the bundled network, or
//! from its own package, which would be too large with it.

use std::path::Path;

fn main() {
    let bundled = "../../models/shapes/shapes.int8.safetensors";
    println!("cargo::rustc-check-cfg=cfg(bundled_network)");
    println!("cargo::rerun-if-changed={bundled}");
    if Path::new(bundled).exists() {
        println!("cargo::rustc-cfg=bundled_network");
    }
}
