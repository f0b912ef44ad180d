//! The executor inside a host: the host's device, encoder and buffers. Needs an adapter.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::time::Duration;

use common::{Numbers, assert_close, finish, gpu, read, reference};
use resnet_wgpu::Error;
use resnet_wgpu::cpu::CpuExecutor;
use resnet_wgpu::engine::{Engine, Oracle};
use resnet_wgpu::gpu::{
    Context, Executor, Input, Output, Pipelines, Readback, Session, cooperative_matrix_works,
    required_features, required_limits,
};
use resnet_wgpu::graph::Graph;
use resnet_wgpu::internals::compare::Tolerance;
use resnet_wgpu::internals::gpu::Adapters;
use resnet_wgpu::internals::graph::{Conv2d, GlobalAvgPool, Op};
use resnet_wgpu::plan::{Capabilities, Plan, PlanOptions};
use resnet_wgpu::tensor::{Shape, Tensor, pack, unpack};
use resnet_wgpu::tune::{TuneCache, TuneProgress, tune};
use resnet_wgpu::wgpu;

const SHAPE: Shape = Shape::new(1, 3, 6, 5);

/// A convolution and a pool with seeded parameters.
fn network(seed: u64) -> Graph {
    let mut numbers = Numbers::new(seed);
    let mut graph = Graph::new();
    let input = graph.input("image", SHAPE).unwrap();
    let weight = graph.param("weight", numbers.tensor(&[8, 3, 3, 3]));
    let conv = Conv2d::new(weight).padding(1);
    let x = graph.add("conv", Op::Conv2d(conv), &[input]).unwrap();
    let y = graph
        .add("pool", Op::GlobalAvgPool(GlobalAvgPool), &[x])
        .unwrap();
    graph.mark_output(y).unwrap();
    graph
}

fn plan(gpu: &Context, graph: &Graph) -> Plan {
    let options = PlanOptions::new(Capabilities::of(&gpu.device));
    Plan::new(graph, &options).unwrap()
}

fn encoder(gpu: &Context) -> wgpu::CommandEncoder {
    gpu.device
        .create_command_encoder(&wgpu::CommandEncoderDescriptor::default())
}

/// A device on the adapter under test with no optional features and exactly these limits.
fn small_device(required_limits: wgpu::Limits) -> (wgpu::Device, wgpu::Queue) {
    small_devices([required_limits]).remove(0)
}

/// Several devices with these limits.
fn small_devices<const N: usize>(limits: [wgpu::Limits; N]) -> Vec<(wgpu::Device, wgpu::Queue)> {
    let name = gpu().info.name;
    let adapters = pollster::block_on(Adapters::enumerate(wgpu::Backends::from_env()));
    let adapter = adapters
        .all()
        .iter()
        .find(|a| a.get_info().name == name)
        .unwrap();
    let device = |required_limits| {
        pollster::block_on(adapter.request_device(&wgpu::DeviceDescriptor {
            required_features: required_features(),
            required_limits,
            ..Default::default()
        }))
        .unwrap()
    };
    limits.map(device).into()
}

#[test]
fn two_executors_and_the_host_share_one_encoder() {
    let gpu = gpu();
    let graphs = [network(1), network(2)];
    let executors =
        [0, 1].map(|i| Executor::new(&gpu.device, &gpu.queue, &plan(&gpu, &graphs[i])).unwrap());
    let readbacks = [0, 1].map(|i| Readback::new(&gpu.device, &executors[i]).unwrap());
    let image = Numbers::new(3).tensor(&SHAPE.dims());

    // The host has the image in a buffer of its own and copies it on the GPU.
    let host = gpu.device.create_buffer(&wgpu::BufferDescriptor {
        label: Some("host image"),
        size: executors[0].input().size(),
        usage: wgpu::BufferUsages::COPY_SRC | wgpu::BufferUsages::COPY_DST,
        mapped_at_creation: false,
    });
    gpu.queue
        .write_buffer(&host, 0, bytemuck::cast_slice(&pack(SHAPE, image.data())));
    let mut encoder = encoder(&gpu);
    for executor in &executors {
        encoder.copy_buffer_to_buffer(&host, 0, executor.input(), 0, host.size());
    }
    for (executor, readback) in executors.iter().zip(&readbacks) {
        executor
            .record(&mut encoder, &Input::uploaded(), &Output::kept())
            .unwrap();
        readback.record(&mut encoder);
    }
    finish(&gpu, encoder);

    for (graph, readback) in graphs.iter().zip(&readbacks) {
        let want = reference(graph, &image);
        let got = read(&gpu.device, readback);
        assert_close("pool", &want[0], &got[0], Tolerance::for_sum_of(27));
    }
}

#[test]
fn the_host_can_read_an_output_buffer_without_any_readback_of_ours() {
    let gpu = gpu();
    let graph = network(4);
    let executor = Executor::new(&gpu.device, &gpu.queue, &plan(&gpu, &graph)).unwrap();
    let image = Numbers::new(5).tensor(&SHAPE.dims());
    executor.write_tensor(&gpu.queue, &image).unwrap();
    let (output, buffer) = executor.output("pool").unwrap();
    assert_eq!(output.shape, Shape::new(1, 8, 1, 1), "shape");
    let bytes = output.shape.packed_len() as u64 * 4;
    let host = gpu.device.create_buffer(&wgpu::BufferDescriptor {
        label: Some("host result"),
        size: bytes,
        usage: wgpu::BufferUsages::COPY_DST | wgpu::BufferUsages::MAP_READ,
        mapped_at_creation: false,
    });
    let mut encoder = encoder(&gpu);
    executor
        .record(&mut encoder, &Input::uploaded(), &Output::kept())
        .unwrap();
    encoder.copy_buffer_to_buffer(buffer, 0, &host, 0, bytes);
    gpu.queue.submit([encoder.finish()]);
    host.map_async(wgpu::MapMode::Read, .., |_| ());
    gpu.device
        .poll(wgpu::PollType::wait_indefinitely())
        .unwrap();
    let packed: Vec<f32> = bytemuck::pod_collect_to_vec(&host.get_mapped_range(..).unwrap()[..]);
    let got = Tensor::new(&output.shape.dims(), unpack(output.shape, &packed)).unwrap();
    assert_close(
        "pool",
        &reference(&graph, &image)[0],
        &got,
        Tolerance::for_sum_of(27),
    );
    assert!(
        executor.output("conv").is_err(),
        "a value that nobody asked for"
    );
}

#[test]
fn a_device_with_nothing_but_the_default_limits_is_enough() {
    assert_eq!(
        required_features(),
        wgpu::Features::empty(),
        "no feature is needed"
    );
    let (device, queue) = small_device(required_limits());
    let graph = network(6);
    let plan = Plan::new(&graph, &PlanOptions::new(Capabilities::default())).unwrap();
    let executor = Executor::new(&device, &queue, &plan).unwrap();
    let image = Numbers::new(7).tensor(&SHAPE.dims());
    executor.write_tensor(&queue, &image).unwrap();
    let readback = Readback::new(&device, &executor).unwrap();
    let mut encoder = device.create_command_encoder(&wgpu::CommandEncoderDescriptor::default());
    executor
        .record(&mut encoder, &Input::uploaded(), &Output::kept())
        .unwrap();
    readback.record(&mut encoder);
    queue.submit([encoder.finish()]);
    let got = read(&device, &readback);
    assert_close(
        "pool",
        &reference(&graph, &image)[0],
        &got[0],
        Tolerance::for_sum_of(27),
    );
}

#[test]
fn a_pipeline_that_the_device_rejects_is_an_error_and_leaves_no_error_scope() {
    let (device, queue) = small_device(wgpu::Limits {
        max_compute_invocations_per_workgroup: 16,
        ..required_limits()
    });
    let plan = Plan::new(&network(8), &PlanOptions::new(Capabilities::default())).unwrap();
    let error = Executor::new(&device, &queue, &plan).unwrap_err();
    assert!(matches!(error, Error::Gpu { .. }), "{error:?}");

    // The host's own scope must be the innermost again, and must not have caught our errors.
    let scope = device.push_error_scope(wgpu::ErrorFilter::Validation);
    assert!(pollster::block_on(scope.pop()).is_none(), "no error leaked");
}

#[test]
fn a_host_tunes_and_tests_its_own_device() {
    let (device, queue) = small_device(required_limits());
    let context = Context::of(device, queue);
    assert!(
        cooperative_matrix_works(&context).unwrap(),
        "what a device lacks is not used"
    );
    let graph = network(9);
    let options = PlanOptions::new(Capabilities::of(&context.device));
    let mut steps = 0;
    let mut count = |_: TuneProgress<'_>| steps += 1;
    let tuned = tune(
        &context,
        &graph,
        &options,
        Duration::from_secs(2),
        &mut count,
    )
    .unwrap();
    assert_eq!(tuned.layers.len() + tuned.unmeasured, 1, "one convolution");
    assert!(steps > 0, "progress");

    let folder = tempfile::tempdir().unwrap();
    let cache = TuneCache::new(folder.path(), &context, &options, "30");
    cache.store(&tuned).unwrap();
    let choices = cache.load(&graph, &options).unwrap();
    assert_eq!(choices, tuned.choices(), "what was stored");

    let plan = Plan::new(&graph, &options.choices(choices)).unwrap();
    let engines: [Box<dyn Engine>; 3] = [
        Box::new(Session::new(&context, &plan).unwrap()),
        Box::new(CpuExecutor::new(&graph).unwrap()),
        Box::new(Oracle::new(graph.clone())),
    ];
    let image = Numbers::new(10).tensor(&SHAPE.dims());
    let want = reference(&graph, &image);
    for engine in engines {
        let outputs = engine.outputs();
        assert_eq!(outputs.len(), 1, "{engine:?}");
        assert_eq!(outputs[0].name, "pool", "{engine:?}");
        assert_eq!(outputs[0].shape, Shape::new(1, 8, 1, 1), "{engine:?}");
        let got = engine.run(&image).unwrap();
        assert_close("pool", &want[0], &got[0], Tolerance::for_sum_of(27));
        assert!(engine.run(&want[0]).is_err(), "an input of another shape");
    }
}

#[test]
fn pipelines_of_another_device_are_an_error() {
    let devices = small_devices([required_limits(), required_limits()]);
    let ((device, queue), (stranger, _)) = (&devices[0], &devices[1]);
    let plan = Plan::new(&network(11), &PlanOptions::new(Capabilities::default())).unwrap();
    let strangers = Pipelines::new(stranger, None);
    let built = Executor::with_pipelines(device, queue, &plan, &strangers, &mut |_| ());
    let error = built.unwrap_err();
    assert!(error.to_string().contains("another device"), "{error}");
}
