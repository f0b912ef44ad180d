//! Shared by the test binaries: a device, seeded tensors, and a comparison that reports where it
//! failed.

#![allow(
    dead_code,
    reason = "each test binary uses its own part of this module"
)]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
#![allow(
    unreachable_pub,
    reason = "the module is compiled into each test binary"
)]

use std::task::Poll;

use resnet_wgpu::gpu::{Context, Readback, Session};
use resnet_wgpu::graph::{Graph, ValueId};
use resnet_wgpu::internals::compare::{Difference, Tolerance};
use resnet_wgpu::internals::graph::{Node, Op};
use resnet_wgpu::passes::{Fusion, optimize};
use resnet_wgpu::plan::{Capabilities, InputFormat, KernelPath, Plan, PlanOptions};
use resnet_wgpu::tensor::Tensor;
use resnet_wgpu::wgpu;

/// Reproducible numbers.
pub type Numbers = resnet_wgpu::internals::noise::Noise;

/// The device that GPU tests run on: the best adapter, or the one that `WGPU_BACKEND` and
/// `WGPU_ADAPTER_NAME` select. Without one, tests fail instead of passing silently.
pub fn gpu() -> Context {
    pollster::block_on(Context::from_env()).unwrap_or_else(|error| {
        panic!(
            "GPU tests need an adapter ({error}); run the other test binaries by name without one"
        )
    })
}

/// Panics with the position and both numbers unless the tensors agree within the tolerance.
#[track_caller]
pub fn assert_close(what: &str, want: &Tensor, got: &Tensor, tolerance: Tolerance) {
    let difference =
        Difference::between(want, got, tolerance).unwrap_or_else(|error| panic!("{what}: {error}"));
    assert!(difference.is_within(), "{what}: {difference}");
}

/// Plans a graph without any fusion and runs it.
pub fn run_unfused(gpu: &Context, graph: &Graph, input: &Tensor) -> Vec<Tensor> {
    run_fused(gpu, graph, Fusion::None, input)
}

/// Optimises, plans and runs a graph; returns its outputs in the graph's order.
pub fn run_fused(gpu: &Context, graph: &Graph, fusion: Fusion, input: &Tensor) -> Vec<Tensor> {
    run_on(
        gpu,
        KernelPath::Auto,
        &optimize(graph, fusion).unwrap(),
        input,
    )
}

/// Plans an unoptimised graph for one path and runs it.
pub fn run_on(gpu: &Context, path: KernelPath, graph: &Graph, input: &Tensor) -> Vec<Tensor> {
    let options = PlanOptions::new(Capabilities::of(&gpu.device))
        .input(InputFormat::Tensor)
        .path(path);
    run_with(gpu, &options, graph, input)
}

/// Plans a graph with the given options and runs it.
pub fn run_with(
    gpu: &Context,
    options: &PlanOptions,
    graph: &Graph,
    input: &Tensor,
) -> Vec<Tensor> {
    let plan = Plan::new(graph, options).unwrap();
    let session = Session::new(gpu, &plan).unwrap();
    session.run(input).unwrap()
}

/// Options for the kernels on quads (subgroups of four lanes), which any device with kernels on
/// textures can run; `None` if that, or the graph, does not allow it.
pub fn quads(gpu: &Context, graph: &Graph) -> Option<PlanOptions> {
    let mut limits = Capabilities::of(&gpu.device);
    let convolves = |node: &Node| matches!(node.op, Op::Conv2d(_));
    if limits.texture_path_obstacle().is_some() || !graph.nodes().iter().any(convolves) {
        return None;
    }
    limits.subgroup_lanes = Some([4, 4]);
    Some(PlanOptions::new(limits).path(KernelPath::Textures))
}

/// The paths that this device can run: buffers always, textures on some.
pub fn paths(gpu: &Context) -> Vec<KernelPath> {
    let obstacle = Capabilities::of(&gpu.device).texture_path_obstacle();
    let textures = obstacle.is_none().then_some(KernelPath::Textures);
    [KernelPath::Buffers].into_iter().chain(textures).collect()
}

/// The oracle's outputs, in the graph's order.
pub fn reference(graph: &Graph, input: &Tensor) -> Vec<Tensor> {
    let activations =
        resnet_wgpu::internals::reference::run(graph, std::slice::from_ref(input)).unwrap();
    let get = |id: &ValueId| activations.get(*id).unwrap().clone();
    graph.outputs().iter().map(get).collect()
}

/// Awaits a readback as a host does: it asks, polls its device if it has not yet, and looks again.
pub fn read(device: &wgpu::Device, readback: &Readback) -> Vec<Tensor> {
    let mut future = std::pin::pin!(readback.read());
    let mut task = std::task::Context::from_waker(std::task::Waker::noop());
    if let Poll::Ready(results) = future.as_mut().poll(&mut task) {
        return results.unwrap().1;
    }
    device.poll(wgpu::PollType::wait_indefinitely()).unwrap();
    match future.as_mut().poll(&mut task) {
        Poll::Ready(results) => results.unwrap().1,
        Poll::Pending => panic!("the host has polled"),
    }
}

/// The contents of a buffer after some commands.
pub fn bytes_after(
    gpu: &Context,
    mut encoder: wgpu::CommandEncoder,
    buffer: &wgpu::Buffer,
) -> Vec<u8> {
    let visible = gpu.device.create_buffer(&wgpu::BufferDescriptor {
        label: Some("visible"),
        size: buffer.size(),
        usage: wgpu::BufferUsages::MAP_READ | wgpu::BufferUsages::COPY_DST,
        mapped_at_creation: false,
    });
    encoder.copy_buffer_to_buffer(buffer, 0, &visible, 0, buffer.size());
    gpu.queue.submit([encoder.finish()]);
    visible.map_async(wgpu::MapMode::Read, .., |_| ());
    gpu.device
        .poll(wgpu::PollType::wait_indefinitely())
        .unwrap();
    let mapped = visible.get_mapped_range(..).unwrap();
    mapped.to_vec()
}

/// The texels of a texture of four bytes each, whose rows are multiples of 64 texels. Waits for them.
pub fn texels(gpu: &Context, texture: &wgpu::Texture) -> Vec<[u8; 4]> {
    let row = 4 * texture.width();
    let buffer = gpu.device.create_buffer(&wgpu::BufferDescriptor {
        label: Some("texels"),
        size: u64::from(row * texture.height()),
        usage: wgpu::BufferUsages::COPY_DST | wgpu::BufferUsages::MAP_READ,
        mapped_at_creation: false,
    });
    let mut encoder = gpu
        .device
        .create_command_encoder(&wgpu::CommandEncoderDescriptor::default());
    encoder.copy_texture_to_buffer(
        texture.as_image_copy(),
        wgpu::TexelCopyBufferInfo {
            buffer: &buffer,
            layout: wgpu::TexelCopyBufferLayout {
                offset: 0,
                bytes_per_row: Some(row),
                rows_per_image: None,
            },
        },
        texture.size(),
    );
    gpu.queue.submit([encoder.finish()]);
    buffer.map_async(wgpu::MapMode::Read, .., |mapped| mapped.unwrap());
    gpu.device
        .poll(wgpu::PollType::wait_indefinitely())
        .unwrap();
    let bytes = buffer.get_mapped_range(..).unwrap();
    bytes.as_chunks::<4>().0.to_vec()
}

/// Submits, and waits as a host would.
pub fn finish(gpu: &Context, encoder: wgpu::CommandEncoder) {
    gpu.queue.submit([encoder.finish()]);
    gpu.device
        .poll(wgpu::PollType::wait_indefinitely())
        .unwrap();
}
