//! The executor inside a host that has its own device: the host fills the input on the GPU, records
//! the network into its own encoder, and reads the logits with a kernel of its own, in one
//! submission and without any wait in between.
//!
//!     cargo run --release --example embed

#![expect(clippy::print_stdout, reason = "an example prints its result")]

use resnet_wgpu::gpu::{Executor, Input, Output, plan_limits, required_features, required_limits};
use resnet_wgpu::models::{self, Arch, ModelOptions};
use resnet_wgpu::passes::{Fusion, optimize};
use resnet_wgpu::plan::{Plan, PlanOptions};
use resnet_wgpu::weights::Weights;
use resnet_wgpu::wgpu;

/// The host's own use of the logits: the best class of each image, found on the GPU.
const ARGMAX: &str = "
@group(0) @binding(0) var<storage, read> logits: array<vec4<f32>>;
@group(0) @binding(1) var<storage, read_write> best: array<u32>;
override CLASSES: u32;
@compute @workgroup_size(1) fn main() {
    best[0] = 0u;
    for (var c = 1u; c < CLASSES; c++) {
        if (logits[c / 4u][c % 4u] > logits[best[0] / 4u][best[0] % 4u]) { best[0] = c; }
    }
}";

fn main() -> Result<(), Box<dyn std::error::Error>> {
    pollster::block_on(run())
}

async fn run() -> Result<(), Box<dyn std::error::Error>> {
    // The host's device: nothing here is special, WebGPU's default limits are enough.
    let instance = wgpu::Instance::new(wgpu::InstanceDescriptor::new_without_display_handle());
    let adapter = instance
        .request_adapter(&wgpu::RequestAdapterOptions::default())
        .await?;
    let (device, queue) = adapter
        .request_device(&wgpu::DeviceDescriptor {
            required_features: required_features(),
            required_limits: required_limits(),
            ..Default::default()
        })
        .await?;

    // Once: the network.
    let options = ModelOptions {
        size: Some([64, 64]),
        softmax: false,
        ..ModelOptions::default()
    };
    let model = models::build(Some(Arch::ResNet18), &mut Weights::random(0), &options)?;
    let graph = optimize(&model.graph, Fusion::Full)?;
    let options = PlanOptions {
        limits: plan_limits(&device),
        ..PlanOptions::default()
    };
    let executor = Executor::new(&device, &queue, &Plan::new(&graph, &options)?)?;

    // Once: the host's own pass over the logits.
    let (_, logits) = executor.output("fc")?;
    let module = device.create_shader_module(wgpu::ShaderModuleDescriptor {
        label: Some("argmax"),
        source: wgpu::ShaderSource::Wgsl(ARGMAX.into()),
    });
    let argmax = device.create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
        label: Some("argmax"),
        layout: None,
        module: &module,
        entry_point: Some("main"),
        compilation_options: wgpu::PipelineCompilationOptions {
            constants: &[("CLASSES", 1000.0)],
            ..Default::default()
        },
        cache: None,
    });
    let buffer = |usage| {
        device.create_buffer(&wgpu::BufferDescriptor {
            label: Some("best class"),
            size: 4,
            usage,
            mapped_at_creation: false,
        })
    };
    let best = buffer(wgpu::BufferUsages::STORAGE | wgpu::BufferUsages::COPY_SRC);
    let visible = buffer(wgpu::BufferUsages::MAP_READ | wgpu::BufferUsages::COPY_DST);
    let bind_group = device.create_bind_group(&wgpu::BindGroupDescriptor {
        label: Some("argmax"),
        layout: &argmax.get_bind_group_layout(0),
        entries: &[
            wgpu::BindGroupEntry {
                binding: 0,
                resource: logits.as_entire_binding(),
            },
            wgpu::BindGroupEntry {
                binding: 1,
                resource: best.as_entire_binding(),
            },
        ],
    });

    // Every frame: one encoder, one submission.
    let mut encoder = device.create_command_encoder(&wgpu::CommandEncoderDescriptor::default());
    encoder.clear_buffer(executor.input(), 0, None);
    executor.record(&mut encoder, &Input::uploaded(), &Output::kept())?;
    {
        let mut pass = encoder.begin_compute_pass(&wgpu::ComputePassDescriptor::default());
        pass.set_pipeline(&argmax);
        pass.set_bind_group(0, &bind_group, &[]);
        pass.dispatch_workgroups(1, 1, 1);
    }
    encoder.copy_buffer_to_buffer(&best, 0, &visible, 0, 4);
    queue.submit([encoder.finish()]);

    visible.map_async(wgpu::MapMode::Read, .., |_| ());
    device.poll(wgpu::PollType::wait_indefinitely())?;
    let bytes = visible.get_mapped_range(..)?;
    println!(
        "best class of an empty image: {}",
        bytemuck::from_bytes::<u32>(&bytes)
    );
    Ok(())
}
