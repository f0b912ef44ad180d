//! Weights that are loaded while frames go on, and used from the next frame on.
//!
//! ```sh
//! cargo run --release --example swap [WEIGHTS NEWER-WEIGHTS]
//! ```
#![expect(clippy::print_stdout, reason = "an example prints its result")]

use std::sync::{Arc, mpsc};
use std::thread;

use resnet_wgpu::Error;
use resnet_wgpu::gpu::{Context, Executor, Input, Output, Readback};
use resnet_wgpu::graph::Role;
use resnet_wgpu::network::{Arch, ModelOptions, Network};
use resnet_wgpu::passes::{Fusion, optimize};
use resnet_wgpu::picture::top_k;
use resnet_wgpu::plan::{Capabilities, Plan, PlanOptions};
use resnet_wgpu::wgpu;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let context = pollster::block_on(Context::from_env())?;
    let Context { device, queue, .. } = &context;
    let old = plan(device, &open(1)?)?;
    let mut executor = Arc::new(Executor::new(device, queue, &old)?);
    let output = Output::builder(&executor).keep(Role::Logits)?.build();
    let readback = Readback::of(device, &executor, [Role::Logits])?;

    // Reading, packing and uploading are the thread's: it needs nothing but handles.
    let (sender, newer) = mpsc::channel();
    let (like, context) = (Arc::clone(&executor), context.clone());
    thread::spawn(move || {
        let load = || -> Result<Executor, Error> {
            let plan = plan(&context.device, &open(2)?)?;
            like.with_weights(&context.queue, &plan)
        };
        // Nobody waits for it if the host has ended.
        let _ = sender.send(load());
    });

    // Every frame: what belongs to the old executor belongs to the new one, too.
    let mut frames_with_newer = 0;
    while frames_with_newer < 2 {
        if let Ok(loaded) = newer.try_recv() {
            executor = Arc::new(loaded?);
            frames_with_newer = 1;
        } else if frames_with_newer > 0 {
            frames_with_newer += 1;
        }
        let mut encoder = device.create_command_encoder(&wgpu::CommandEncoderDescriptor::default());
        executor.record(&mut encoder, &Input::uploaded(), &output)?;
        readback.record(&mut encoder)?;
        queue.submit([encoder.finish()]);
        // A host that presents frames would not wait.
        device.poll(wgpu::PollType::wait_indefinitely())?;
        while let Some((run, outputs)) = readback.try_read()? {
            let best = top_k(outputs[0].data(), 1)[0];
            println!("run {run}: class {best}");
        }
    }
    Ok(())
}

fn open(argument: usize) -> Result<Network, Error> {
    let options = ModelOptions::default();
    match std::env::args().nth(argument) {
        Some(path) => resnet_formats::open(path, &options),
        None => Arch::ResNet18.random(argument as u64, &options),
    }
}

fn plan(device: &wgpu::Device, network: &Network) -> Result<Plan, Error> {
    let model = network.model(&ModelOptions::default())?;
    let graph = optimize(&model.graph, Fusion::Full)?;
    Plan::new(&graph, &PlanOptions::new(Capabilities::of(device)))
}
