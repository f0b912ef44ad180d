//! What `gpu::Classifier` is made of: model, graph, plan, executor, input, output and readback, for a host
//! that wants one of them otherwise.
//!
//! ```sh
//! cargo run --release --example parts [WEIGHTS]
//! ```
#![expect(clippy::print_stdout, reason = "an example prints its result")]

use resnet_wgpu::explain::{ClassMap, add_class_map};
use resnet_wgpu::gpu::{Context, Executor, HeatMap, Output, Readback, TextureRead};
use resnet_wgpu::graph::Role;
use resnet_wgpu::network::Arch;
use resnet_wgpu::network::ModelOptions;
use resnet_wgpu::passes::{Fusion, optimize};
use resnet_wgpu::picture::top_k;
use resnet_wgpu::plan::{Capabilities, InputFormat, Plan, PlanOptions};
use resnet_wgpu::wgpu::{self, TextureFormat as Format, TextureUsages as Usage};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    // Any device of the host will do: `gpu::device_descriptor` describes the fastest.
    let Context { device, queue, .. } = pollster::block_on(Context::from_env())?;
    let mut size = wgpu::Extent3d::default();
    (size.width, size.height) = (320, 200);
    let texture = |format, usage| {
        device.create_texture(&wgpu::TextureDescriptor {
            label: Some("host"),
            size,
            mip_level_count: 1,
            sample_count: 1,
            dimension: wgpu::TextureDimension::D2,
            format,
            usage: usage | Usage::TEXTURE_BINDING,
            view_formats: &[],
        })
    };
    let scene = texture(Format::Rgba8UnormSrgb, Usage::RENDER_ATTACHMENT);
    let scene = scene.create_view(&Default::default());
    let heat = texture(Format::Rgba8Unorm, Usage::COPY_DST);

    // Once: the network, its input, and the destination of its results.
    let options = ModelOptions::default();
    let network = match std::env::args().nth(1) {
        Some(path) => resnet_formats::open(path, &options)?,
        None => Arch::ResNet18.random(0, &options)?,
    };
    let model = network.model(&options)?;
    let graph = add_class_map(&optimize(&model.graph, Fusion::Full)?, &ClassMap::default())?;
    let rules = &model.preprocess;
    let options = PlanOptions::new(Capabilities::of(&device)).input(InputFormat::Rgba8(*rules));
    let executor = Executor::new(&device, &queue, &Plan::new(&graph, &options)?)?;
    let input = executor.texture_input(&device, &[(&scene, TextureRead::default())])?;
    let output = Output::builder(&executor);
    let output = output
        .heat_map(&device, &heat, &HeatMap::default())?
        .build();
    let readback = Readback::of(&device, &executor, [Role::Probabilities])?;

    // Every frame: the host draws, the network looks, and the host may draw the heat map on top.
    let mut encoder = device.create_command_encoder(&Default::default());
    encoder.begin_render_pass(&wgpu::RenderPassDescriptor {
        color_attachments: &[Some(wgpu::RenderPassColorAttachment {
            view: &scene,
            depth_slice: None,
            resolve_target: None,
            ops: wgpu::Operations::default(),
        })],
        ..Default::default()
    });
    executor.record(&mut encoder, &input, &output)?;
    readback.record(&mut encoder)?;
    queue.submit([encoder.finish()]);

    // Whenever the results have arrived: this host has nothing else to do, and waits.
    device.poll(wgpu::PollType::wait_indefinitely())?;
    let (_, outputs) = readback.try_read()?.ok_or("the device is still busy")?;
    let best = top_k(outputs[0].data(), 1)[0];
    let label = model.labels.as_ref().and_then(|labels| labels.get(best));
    println!("class {best}, {}", label.unwrap_or("which has no name"));
    Ok(())
}
