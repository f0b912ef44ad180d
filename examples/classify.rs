//! Finds the five best classes of an image, given a weight file, with the library alone.
//!
//! ```sh
//! cargo run --release --example classify -- resnet50.safetensors photo.jpg
//! ```

#![expect(clippy::print_stdout, reason = "an example prints its result")]

use resnet_wgpu::Error;
use resnet_wgpu::gpu::{Context, Session};
use resnet_wgpu::network::ModelOptions;
use resnet_wgpu::passes::{Fusion, optimize};
use resnet_wgpu::picture::Labels;
use resnet_wgpu::picture::top_k;
use resnet_wgpu::picture::{Batch, Picture};
use resnet_wgpu::plan::{Capabilities, InputFormat, Plan, PlanOptions};

fn main() -> Result<(), Error> {
    let mut arguments = std::env::args().skip(1);
    let (Some(weights), Some(image)) = (arguments.next(), arguments.next()) else {
        println!("usage: classify WEIGHTS IMAGE");
        return Ok(());
    };

    let options = ModelOptions::default();
    let model = resnet_formats::open(weights, &options)?.model(&options)?;
    let picture = Picture::open(image)?;
    let batch = Batch::prepare(&[picture], &model.preprocess)?;

    let context = pollster::block_on(Context::from_env())?;
    let options = PlanOptions::new(Capabilities::of(&context.device))
        .input(InputFormat::Rgba8(*batch.rules()));
    let plan = Plan::new(&optimize(&model.graph, Fusion::Full)?, &options)?;
    let session = Session::new(&context, &plan)?;
    let outputs = session.run_pixels(batch.rgba())?;

    // The graph's outputs are the logits and their softmax.
    let probabilities = outputs[1].data();
    let labels = model
        .labels
        .or_else(|| (model.classes == Some(1000)).then(Labels::imagenet1k));
    for class in top_k(probabilities, 5) {
        let label = labels.as_ref().and_then(|l| l.get(class)).unwrap_or("?");
        println!("{:6.2} %  {class:4}  {label}", probabilities[class] * 100.0);
    }
    Ok(())
}
