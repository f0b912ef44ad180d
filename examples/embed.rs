//! A host whose texture goes in and gets a label and a heat map, in its own encoder. `parts` does the same
//! without the facade.
//!
//! ```sh
//! cargo run --release --example embed [WEIGHTS PICTURE]
//! ```
//!
//! Without arguments the network of twelve solids sees a torus.
#![expect(clippy::print_stdout, reason = "an example prints its result")]

use resnet_wgpu::gpu::{Classifier, Context, HeatMap};
use resnet_wgpu::network::ModelOptions;
use resnet_wgpu::picture::Picture;
use resnet_wgpu::wgpu;

const WEIGHTS: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/models/shapes/shapes.int8.safetensors"
);
const PICTURE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/assets/torus.png");

fn main() -> Result<(), Box<dyn std::error::Error>> {
    // Any device of the host will do: `Context::of` takes it, and `gpu::device_descriptor` makes one.
    let context = pollster::block_on(Context::from_env())?;
    let Context { device, queue, .. } = &context;
    let mut arguments = std::env::args().skip(1);
    let weights = arguments.next().unwrap_or_else(|| WEIGHTS.to_owned());
    let picture = arguments.next().unwrap_or_else(|| PICTURE.to_owned());

    // Once:
    let network = resnet_formats::open(weights, &ModelOptions::default())?;
    let scene = scene(device, queue, &Picture::open(picture)?)?;
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
            let best = &answer.guesses[0][0];
            println!("run {}: {} {:.4}", answer.run, best.label, best.probability);
        }
    }
    Ok(())
}

/// What the host shows: a picture, in a texture that it may also draw to.
fn scene(
    device: &wgpu::Device,
    queue: &wgpu::Queue,
    picture: &Picture,
) -> Result<wgpu::TextureView, std::num::TryFromIntError> {
    let [height, width] = picture.size();
    let size = wgpu::Extent3d {
        width: width.try_into()?,
        height: height.try_into()?,
        depth_or_array_layers: 1,
    };
    let texture = device.create_texture(&wgpu::TextureDescriptor {
        label: Some("scene"),
        size,
        mip_level_count: 1,
        sample_count: 1,
        dimension: wgpu::TextureDimension::D2,
        format: wgpu::TextureFormat::Rgba8UnormSrgb,
        usage: wgpu::TextureUsages::TEXTURE_BINDING
            | wgpu::TextureUsages::RENDER_ATTACHMENT
            | wgpu::TextureUsages::COPY_DST,
        view_formats: &[],
    });
    let opaque = |rgb: &[u8]| [rgb[0], rgb[1], rgb[2], u8::MAX];
    let rgba: Vec<u8> = picture.rgb().chunks_exact(3).flat_map(opaque).collect();
    let rows = wgpu::TexelCopyBufferLayout {
        offset: 0,
        bytes_per_row: Some(4 * size.width),
        rows_per_image: None,
    };
    queue.write_texture(texture.as_image_copy(), &rgba, rows, size);
    Ok(texture.create_view(&Default::default()))
}
