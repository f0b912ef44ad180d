//! The viewer is the example for egui, too.
//!
//! ```sh
//! cargo run --release --example egui -- [FILES]
//! ```

#[path = "viewer.rs"]
mod viewer;

fn main() -> std::process::ExitCode {
    viewer::main()
}
