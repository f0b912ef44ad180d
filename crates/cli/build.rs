//! Finds out whether this is the repository, which has the bundled network, or the package, which
//! would be too large with it.

fn main() {
    let bundled = "../../models/shapes/shapes.f16.safetensors";
    println!("cargo::rustc-check-cfg=cfg(bundled_network)");
    println!("cargo::rerun-if-changed={bundled}");
    if std::path::Path::new(bundled).exists() {
        println!("cargo::rustc-cfg=bundled_network");
    }
}
