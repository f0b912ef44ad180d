//! Times ResNet-50 in an inference engine that is a Rust crate: in rten, or in burn, which is a feature. `scripts/peers`
//! with `--rust` or `--burn` runs it for each of their turns:
//!
//! ```sh
//! resnet-peers '{"engine": "rten", "model": "model.onnx", "image": "model.image", "batch": 1, "size": [224, 224],
//!                "threads": 2, "gpu": "", "warmup": 3, "runs": 10, "seconds": 3}'
//! ```
//!
//! The image has the 32-bit floats of a batch. burn gets its weights from `model.safetensors`, beside the model. The
//! answer is JSON on the last line.

#[cfg(feature = "burn")]
mod on_burn;
mod on_rten;

use std::error::Error;
use std::path::PathBuf;
use std::time::Instant;

use serde::{Deserialize, Serialize};

type Result<T> = std::result::Result<T, Box<dyn Error>>;

#[derive(Deserialize)]
struct Options {
    engine: String,
    model: PathBuf,
    image: PathBuf,
    batch: usize,
    size: [usize; 2],
    threads: usize,
    /// Part of the name of the adapter.
    #[cfg(feature = "burn")]
    gpu: String,
    warmup: usize,
    runs: usize,
    seconds: f64,
}

#[derive(Serialize)]
struct Answer {
    samples_ms: Vec<f64>,
    used: String,
    version: String,
    probabilities: Vec<f32>,
}

/// Computes the probabilities of a batch.
type Run = dyn Fn(&[f32]) -> Result<Vec<f32>>;

/// An engine with the network in it.
struct Opened {
    run: Box<Run>,
    /// What computes, in words.
    used: String,
    version: String,
}

fn main() -> Result<()> {
    let text = std::env::args().nth(1).ok_or("no options")?;
    let options: Options = serde_json::from_str(&text)?;
    let image = floats(&std::fs::read(&options.image)?);
    let opened = match &options.engine[..] {
        #[cfg(feature = "burn")]
        "burn" => on_burn::open(&options),
        "rten" => on_rten::open(&options),
        other => Err(format!("there is no engine '{other}'").into()),
    }?;
    let start = Instant::now();
    let probabilities = (opened.run)(&image)?;
    let first = start.elapsed().as_secs_f64();
    for picture in probabilities.chunks(probabilities.len() / options.batch) {
        let sum: f32 = picture.iter().sum();
        if (sum - 1.0).abs() > 1e-3 {
            return Err(format!("these are no probabilities: their sum is {sum}").into());
        }
    }
    let run = || (opened.run)(&image);
    timed(run, options.warmup, options.seconds)?;
    let answer = Answer {
        samples_ms: timed(run, options.runs, options.seconds)?,
        used: format!("{}, first run {first:.1} s", opened.used),
        version: opened.version,
        probabilities,
    };
    println!("\n{}", serde_json::to_string(&answer)?);
    Ok(())
}

/// Milliseconds of each run: at least one, and no more after so many seconds.
fn timed(run: impl Fn() -> Result<Vec<f32>>, runs: usize, seconds: f64) -> Result<Vec<f64>> {
    let begin = Instant::now();
    let mut samples = Vec::new();
    while samples.len() < runs {
        let start = Instant::now();
        run()?;
        samples.push(start.elapsed().as_secs_f64() * 1e3);
        if begin.elapsed().as_secs_f64() >= seconds {
            break;
        }
    }
    Ok(samples)
}

fn floats(bytes: &[u8]) -> Vec<f32> {
    let (numbers, _) = bytes.as_chunks();
    numbers.iter().copied().map(f32::from_le_bytes).collect()
}

/// The version of a crate that was compiled, as the lock file has it.
fn version_of(name: &str) -> String {
    let lock = include_str!("../Cargo.lock");
    let entry = lock.split_once(&format!("name = \"{name}\"\nversion = \""));
    let version = entry.and_then(|(_, entry)| entry.split_once('"'));
    version.map_or("unknown", |(version, _)| version).into()
}
