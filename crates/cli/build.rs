//! Finds out whether the program is built from the repository, which contains the bundled network, or
//! from its own package, which would be too large with it. `RESNET_WITHOUT_NETWORK` leaves it out as well.

use std::path::Path;

fn main() {
    let bundled = "../../models/shapes/shapes.int8.safetensors";
    println!("cargo::rustc-check-cfg=cfg(bundled_network)");
    println!("cargo::rerun-if-changed={bundled}");
    println!("cargo::rerun-if-env-changed=RESNET_WITHOUT_NETWORK");
    if Path::new(bundled).exists() && std::env::var_os("RESNET_WITHOUT_NETWORK").is_none() {
        println!("cargo::rustc-cfg=bundled_network");
    }
}
