//! Runs many ONNX files in one process, for `scripts/onnx_differential.py`.
//!
//! Each line of standard input has three fields, separated by tabs: an ONNX file, a file with an
//! image as 32-bit floats in NCHW, and the shape of the image. The reply is one line of JSON: the
//! outputs of the 64-bit reference, or why the file is refused.

use std::error::Error;
use std::io::{BufRead, Write};

use resnet_wgpu::graph::Role;
use resnet_wgpu::internals::reference;
use resnet_wgpu::network::ModelOptions;
use resnet_wgpu::tensor::Tensor;

fn run(line: &str) -> Result<serde_json::Value, Box<dyn Error>> {
    let mut parts = line.split('\t');
    let (Some(file), Some(image)) = (parts.next(), parts.next()) else {
        return Err("a line has a file, an image and four sizes".into());
    };
    let dims: Vec<usize> = parts.map(str::parse).collect::<Result<_, _>>()?;
    let bytes = std::fs::read(image)?;
    let (numbers, _) = bytes.as_chunks::<4>();
    let numbers: Vec<f32> = numbers
        .iter()
        .map(|&bytes| f32::from_le_bytes(bytes))
        .collect();
    let mut options = ModelOptions::default();
    options.batch = dims[0];
    options.size = Some([dims[2], dims[3]]);
    let network = resnet_formats::open(file, &options)?;
    let model = network.model(&options)?;
    let activations = reference::run(&model.graph, &[Tensor::new(&dims, numbers)?])?;
    let of = |role| -> Option<&[f32]> { Some(activations.get(model.graph.role(role)?)?.data()) };
    Ok(serde_json::json!({
        "logits": of(Role::Logits),
        "probabilities": of(Role::Probabilities),
        "features": of(Role::Features),
        "preprocessing": model.preprocess.to_string(),
    }))
}

fn main() -> Result<(), Box<dyn Error>> {
    let mut out = std::io::stdout().lock();
    for line in std::io::stdin().lock().lines() {
        let result =
            run(&line?).unwrap_or_else(|error| serde_json::json!({ "refused": error.to_string() }));
        writeln!(out, "{result}")?;
        out.flush()?;
    }
    Ok(())
}
