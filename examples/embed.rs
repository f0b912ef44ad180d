//! A host whose texture goes in and gets a label and a heat map, in its own encoder. `parts` does the same
//! without the facade.
//!
//! ```sh
//! cargo run --release --example embed [WEIGHTS]
//! ```
#![expect(clippy::print_stdout, reason = "an example prints its result")]

use resnet_wgpu::gpu::{Classifier, Context, HeatMap};
use resnet_wgpu::network::{Arch, ModelOptions};
use resnet_wgpu::wgpu;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    // Any device of the host will do: `Context::of` takes it, and `gpu::device_descriptor` makes one.
    let context = pollster::block_on(Context::from_env())?;
    let Context { device, queue, .. } = &context;
    let scene = scene(device);

    // Once:
    let options = ModelOptions::default();
    let network = match std::env::args().nth(1) {
        Some(path) => resnet_formats::open(path, &options)?,
        None => Arch::ResNet18.random(0, &options)?,
    };
    let builder = Classifier::builder(&network).heat_map(HeatMap::default());
    let mut classifier = builder.build(&context)?;

    // Every frame: the host draws, the network looks, and the host may draw the heat map on top.
    for _ in 0..3 {
        let mut encoder = device.create_command_encoder(&Default::default());
        classifier.record(&mut encoder, &scene)?;
        queue.submit([encoder.finish()]);
        // A host that presents its frames would not wait: answers come some frames later.
        device.poll(wgpu::PollType::wait_indefinitely())?;
        while let Some(answer) = classifier.poll()? {
            println!("run {}: {}", answer.run, answer.guesses[0][0].label);
        }
    }
    Ok(())
}

/// What the host draws to.
fn scene(device: &wgpu::Device) -> wgpu::TextureView {
    let texture = device.create_texture(&wgpu::TextureDescriptor {
        label: Some("scene"),
        size: wgpu::Extent3d {
            width: 320,
            height: 200,
            depth_or_array_layers: 1,
        },
        mip_level_count: 1,
        sample_count: 1,
        dimension: wgpu::TextureDimension::D2,
        format: wgpu::TextureFormat::Rgba8UnormSrgb,
        usage: wgpu::TextureUsages::TEXTURE_BINDING | wgpu::TextureUsages::RENDER_ATTACHMENT,
        view_formats: &[],
    });
    texture.create_view(&Default::default())
}
