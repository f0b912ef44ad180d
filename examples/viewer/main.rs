//! A solid, rendered live, and what the bundled network sees in it: the scene is rendered to a
//! texture, and the network classifies that very texture in the same command encoder and frame.
//!
//!     cargo run --release --example viewer
//!     cargo run --release --example viewer -- --headless --frames 8 --out target/viewer

mod controls;
mod headless;
mod host;
mod layout;
mod network;
mod panel;
#[path = "../shapes/scene/mod.rs"]
mod scene;
mod stage;
mod window;

use std::error::Error;
use std::path::PathBuf;

use clap::Parser;

use scene::Shape;

/// Watch the network look at solids.
#[derive(Debug, Parser)]
struct Arguments {
    /// Weights of a network for the solids
    #[arg(long, value_name = "FILE", default_value = BUNDLED)]
    weights: PathBuf,

    /// Solid to begin with
    #[arg(long, default_value = "torus", value_parser = shape)]
    shape: Shape,

    /// Colours and surroundings to begin with
    #[arg(long, default_value = "1")]
    seed: u64,

    /// Rows and columns of the picture that is rendered and that the network sees
    #[arg(long, value_name = "N", default_value = "448", value_parser = clap::value_parser!(u32).range(64..=2048))]
    size: u32,

    /// Number of frames over which each run of the network is spread
    #[arg(long, value_name = "FRAMES", default_value = "1", value_parser = clap::value_parser!(u32).range(1..=64))]
    split: u32,

    /// Write pictures of frames instead of opening a window
    #[arg(long, requires = "out")]
    headless: bool,

    /// Frames to write; each shows the next solid
    #[arg(long, default_value = "12", requires = "headless", value_parser = clap::value_parser!(u32).range(1..=100_000))]
    frames: u32,

    /// Folder for the pictures
    #[arg(long, value_name = "FOLDER", requires = "headless")]
    out: Option<PathBuf>,
}

/// The bundled network of the repository.
const BUNDLED: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/models/shapes/shapes.int8.safetensors"
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
        None => window::run(&arguments),
    }
}
