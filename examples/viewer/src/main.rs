//! A picture, what a ResNet sees in it, and why: the library's classifier in an egui program, on the
//! device of the interface.
//!
//! It shows solids, rendered live, and what the bundled network makes of them; or any picture and any
//! weight file that is dropped on the window.
//!
//!     cargo run --release --manifest-path examples/viewer/Cargo.toml [FILES]
//!     cargo run --release --manifest-path examples/viewer/Cargo.toml -- --headless --out FOLDER

mod app;
mod controls;
mod files;
mod headless;
mod network;
mod panel;
mod scale;
#[path = "../../shapes/scene/mod.rs"]
mod scene;
mod solid;
mod theme;
mod times;
mod ui;
mod window;

use std::error::Error;
use std::path::PathBuf;

use clap::Parser;

use scene::Shape;

/// Watch a network look at pictures.
#[derive(Debug, Parser)]
#[command(name = "viewer")]
struct Arguments {
    /// Pictures and weight files to open, as if they were dropped on the window
    files: Vec<PathBuf>,

    /// Weights of a network
    #[arg(long, value_name = "FILE", default_value = BUNDLED)]
    weights: PathBuf,

    /// Solid to begin with
    #[arg(long, default_value = "torus", value_parser = shape)]
    shape: Shape,

    /// Colours and surroundings to begin with
    #[arg(long, default_value = "1")]
    seed: u64,

    /// Rows and columns of the picture that is rendered and that the network sees
    #[arg(long, value_name = "N", default_value = "512", value_parser = clap::value_parser!(u32).range(64..=2048))]
    size: u32,

    /// Write pictures of the window instead of opening it
    #[arg(long, requires = "out")]
    headless: bool,

    /// Pictures to write; each shows the next solid
    #[arg(long, default_value = "12", requires = "headless", value_parser = clap::value_parser!(u32).range(1..=100_000))]
    frames: u32,

    /// Folder for the pictures
    #[arg(long, value_name = "FOLDER", requires = "headless")]
    out: Option<PathBuf>,
}

/// The bundled network of the repository.
const BUNDLED: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/../../models/shapes/shapes.int8.safetensors"
);

fn shape(name: &str) -> Result<Shape, String> {
    let named = |shape: &Shape| shape.name() == name;
    Shape::ALL.into_iter().find(named).ok_or_else(|| {
        let names = Shape::ALL.map(Shape::name).join(", ");
        format!("it is none of {names}")
    })
}

fn main() -> Result<(), Box<dyn Error>> {
    env_logger::init();
    let arguments = Arguments::parse();
    match &arguments.out {
        Some(folder) => headless::run(&arguments, folder),
        None => window::run(arguments),
    }
}
