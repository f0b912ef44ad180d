//! The executor inside a host: the host's device, encoder and buffers. Needs an adapter.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::task::Poll;
use std::time::{Duration, Instant};

use common::{Numbers, assert_close, finish, gpu, read, reference, texels};
use resnet_wgpu::Error;
use resnet_wgpu::engine::CpuExecutor;
use resnet_wgpu::engine::{Engine, Oracle};
use resnet_wgpu::gpu::{
    Answer, Classifier, Context, Executor, HeatMap, Input, Output, Pipelines, Readback, Session,
    TextureRead, answered, cooperative_matrix_works,
};
use resnet_wgpu::graph::{Graph, Role};
use resnet_wgpu::internals::compare::Tolerance;
use resnet_wgpu::internals::gpu::Adapters;
use resnet_wgpu::internals::graph::{Conv2d, GlobalAvgPool, Op};
use resnet_wgpu::network::{Arch, ModelOptions};
use resnet_wgpu::passes::{Fusion, optimize};
use resnet_wgpu::picture::{Batch, Picture, top_k};
use resnet_wgpu::plan::{Capabilities, Plan, PlanOptions, Precision};
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
        readback.record(&mut encoder).unwrap();
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
    let (device, queue) = small_device(wgpu::Limits::default());
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
    readback.record(&mut encoder).unwrap();
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
        ..wgpu::Limits::default()
    });
    let plan = Plan::new(&network(8), &PlanOptions::new(Capabilities::default())).unwrap();
    let error = Executor::new(&device, &queue, &plan).unwrap_err();
    assert!(matches!(error, Error::Gpu { .. }), "{error:?}");
    let waited = answered(|| Executor::new(&device, &queue, &plan));
    let error = pollster::block_on(waited).unwrap_err();
    assert!(matches!(error, Error::Gpu { .. }), "{error:?}");

    // The host's own scope must be the innermost again, and must not have caught our errors.
    let scope = device.push_error_scope(wgpu::ErrorFilter::Validation);
    assert!(pollster::block_on(scope.pop()).is_none(), "no error leaked");
}

#[test]
fn a_host_tunes_and_tests_its_own_device() {
    let (device, queue) = small_device(wgpu::Limits::default());
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
    assert_eq!(choices, tuned.choices, "what was stored");

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
fn weights_are_swapped_without_a_new_pipeline_input_or_readback() {
    let gpu = gpu();
    let graphs = [network(12), network(13)];
    let plans = [0, 1].map(|i| plan(&gpu, &graphs[i]));
    let Context {
        device,
        queue,
        pipelines,
        ..
    } = &gpu;
    let mut executor =
        Executor::with_pipelines(device, queue, &plans[0], pipelines, &mut |_| ()).unwrap();
    let made = pipelines.count();
    let output = Output::builder(&executor).keep("pool").unwrap().build();
    let readback = Readback::new(device, &executor).unwrap();
    let image = Numbers::new(14).tensor(&SHAPE.dims());
    executor.write_tensor(queue, &image).unwrap();
    for index in [0, 1, 0] {
        executor = executor.with_weights(queue, &plans[index]).unwrap();
        let mut encoder = encoder(&gpu);
        executor
            .record(&mut encoder, &Input::uploaded(), &output)
            .unwrap();
        readback.record(&mut encoder).unwrap();
        finish(&gpu, encoder);
        let want = reference(&graphs[index], &image);
        let got = read(device, &readback);
        assert_close("pool", &want[0], &got[0], Tolerance::for_sum_of(27));
    }
    assert_eq!(pipelines.count(), made, "no new pipeline");

    let options = PlanOptions::new(Capabilities::of(device)).precision(Precision::F16);
    let other = Plan::new(&graphs[0], &options).unwrap();
    let error = executor.with_weights(queue, &other).unwrap_err();
    assert!(
        error.to_string().contains("more than its weights"),
        "{error}"
    );
}

/// A picture of the host's, and what the network makes of it on the CPU.
fn scene(gpu: &Context, seed: u64) -> (wgpu::TextureView, Picture) {
    let mut numbers = Numbers::new(seed);
    let bytes = numbers.tensor(&[40 * 30 * 3]);
    let bytes: Vec<u8> = bytemuck::cast_slice::<f32, u8>(bytes.data())
        .iter()
        .step_by(4)
        .copied()
        .collect();
    let picture = Picture::new(40, 30, bytes).unwrap();
    let rgba = picture
        .rgb()
        .chunks(3)
        .flat_map(|p| [p[0], p[1], p[2], 255]);
    let size = wgpu::Extent3d {
        width: 30,
        height: 40,
        depth_or_array_layers: 1,
    };
    let texture = gpu.device.create_texture(&wgpu::TextureDescriptor {
        label: Some("scene"),
        size,
        mip_level_count: 1,
        sample_count: 1,
        dimension: wgpu::TextureDimension::D2,
        format: wgpu::TextureFormat::Rgba8Unorm,
        usage: wgpu::TextureUsages::TEXTURE_BINDING | wgpu::TextureUsages::COPY_DST,
        view_formats: &[],
    });
    gpu.queue.write_texture(
        texture.as_image_copy(),
        &rgba.collect::<Vec<u8>>(),
        wgpu::TexelCopyBufferLayout {
            offset: 0,
            bytes_per_row: Some(30 * 4),
            rows_per_image: None,
        },
        size,
    );
    let view = texture.create_view(&wgpu::TextureViewDescriptor::default());
    (view, picture)
}

/// Records one run on a scene, and waits for its answer as a host does not.
fn look(gpu: &Context, classifier: &mut Classifier, scene: &wgpu::TextureView) -> Answer {
    let mut encoder = encoder(gpu);
    let run = classifier.record(&mut encoder, scene).unwrap();
    gpu.queue.submit([encoder.finish()]);
    assert!(classifier.poll().unwrap().is_none(), "nothing polls");
    gpu.device
        .poll(wgpu::PollType::wait_indefinitely())
        .unwrap();
    let answer = classifier.poll().unwrap().unwrap();
    assert_eq!(Some(answer.run), run, "the number of the run");
    answer
}

#[test]
fn a_classifier_answers_as_the_cpu_does_and_survives_its_device() {
    let gpu = gpu();
    let mut options = ModelOptions::default();
    options.size = Some([32, 32]);
    let network = Arch::ResNet18.random(3, &options).unwrap();
    let mut model = network.model(&options).unwrap();
    let features = model.graph.role(Role::Features).unwrap();
    model.graph.mark_output(features).unwrap();
    let cpu = CpuExecutor::new(&model.graph).unwrap();

    let mut classifier = Classifier::builder(&network)
        .model(options)
        .features()
        .heat_map(HeatMap::default())
        .build(&gpu)
        .unwrap();
    let scenes = [1, 2, 3, 4, 5, 6].map(|seed| scene(&gpu, seed));
    let mut answers = Vec::new();
    for round in 0..2 {
        for (view, picture) in &scenes {
            let batch = Batch::prepare(std::slice::from_ref(picture), &model.preprocess).unwrap();
            let want = cpu.run(&batch.tensor()).unwrap();
            let answer = look(&gpu, &mut classifier, view);
            let guesses = &answer.guesses[0];
            let best = top_k(want[1].data(), 5);
            let got: Vec<usize> = guesses.iter().map(|guess| guess.class).collect();
            assert_eq!(got, best, "round {round}");
            for guess in guesses {
                let off = guess.probability - want[1].data()[guess.class];
                assert!(off.abs() < 1e-4, "{guess:?}");
                let labels = model.labels.as_ref().unwrap();
                assert_eq!(labels.get(guess.class), Some(&*guess.label), "label");
            }
            let got = Tensor::new(want[2].dims(), answer.features[0].clone()).unwrap();
            assert_close("features", &want[2], &got, Tolerance::for_sum_of(1000));
            answers.push(answer);
        }
    }
    let map = classifier.heat_map().unwrap();
    assert_eq!([map.height(), map.width()], [32, 32], "the network's image");

    gpu.device.destroy();
    let new = self::gpu();
    let refused = classifier.rebuild(&gpu, &network);
    assert!(refused.is_err(), "a device that is lost");
    classifier.rebuild(&new, &network).unwrap();
    let (view, _) = scene(&new, 1);
    let answer = look(&new, &mut classifier, &view);
    assert_eq!(answer.guesses, answers[0].guesses, "as before");
    assert_eq!(answer.features, answers[0].features, "as before");
}

#[test]
fn a_classifier_is_warmed_and_paints_where_and_as_it_is_told() {
    let gpu = gpu();
    let mut options = ModelOptions::default();
    options.size = Some([32, 32]);
    let network = Arch::ResNet18.random(5, &options).unwrap();
    let build = |how: Option<HeatMap>| {
        let mut builder = Classifier::builder(&network).model(options.clone());
        if let Some(how) = how {
            builder = builder.heat_map(how);
        }
        builder.build(&gpu).unwrap()
    };
    let (view, _) = scene(&gpu, 1);
    let mut cold = build(Some(HeatMap::default()));
    let want = look(&gpu, &mut cold, &view);

    let mut classifier = build(Some(HeatMap::default()));
    let views = [(&view, TextureRead::default())];
    let mut warming = classifier.prewarm(&views).unwrap();
    let (_, pipelines) = warming.progress();
    assert!(pipelines > 5, "{pipelines} pipelines");
    let mut frames = 0;
    loop {
        let mut encoder = encoder(&gpu);
        let done = warming.record(&mut encoder, 3);
        gpu.queue.submit([encoder.finish()]);
        frames += 1;
        if done {
            break;
        }
    }
    assert_eq!(frames, pipelines.div_ceil(3), "frames");

    // The map in numbers, in the host's own texture of another size.
    let texture = gpu.device.create_texture(&wgpu::TextureDescriptor {
        label: Some("map"),
        size: wgpu::Extent3d {
            width: 64,
            height: 8,
            depth_or_array_layers: 1,
        },
        mip_level_count: 1,
        sample_count: 1,
        dimension: wgpu::TextureDimension::D2,
        format: wgpu::TextureFormat::R32Float,
        usage: wgpu::TextureUsages::COPY_DST | wgpu::TextureUsages::COPY_SRC,
        view_formats: &[],
    });
    classifier.paint(&texture, &HeatMap::default()).unwrap();
    assert_eq!(classifier.heat_map(), Some(&texture), "the host's");
    let got = look(&gpu, &mut classifier, &view);
    assert_eq!(got.guesses, want.guesses, "as without it");
    let values = texels(&gpu, &texture).into_iter().map(f32::from_le_bytes);
    let (low, high) = values.fold((f32::MAX, f32::MIN), |(low, high), value| {
        (low.min(value), high.max(value))
    });
    assert!((-0.05..0.3).contains(&low), "the least is {low}");
    assert!((0.7..1.05).contains(&high), "the most is {high}");

    let refused = build(None)
        .paint(&texture, &HeatMap::default())
        .unwrap_err();
    assert!(refused.to_string().contains("builder"), "{refused}");
}

#[test]
fn a_classifier_reads_tensors_and_batches_too() {
    let gpu = gpu();
    let mut options = ModelOptions::default();
    options.batch = 2;
    options.size = Some([32, 32]);
    let network = Arch::ResNet18.random(4, &options).unwrap();
    let model = network.model(&options).unwrap();
    let image = Numbers::new(15).tensor(&[2, 3, 32, 32]);
    let cpu = CpuExecutor::new(&model.graph).unwrap();
    let want = cpu.run(&image).unwrap();
    let classifier = Classifier::builder(&network)
        .model(options)
        .tensors()
        .build(&gpu)
        .unwrap();
    classifier
        .executor()
        .write_tensor(&gpu.queue, &image)
        .unwrap();
    let mut encoder = encoder(&gpu);
    classifier
        .record_input(&mut encoder, &Input::uploaded())
        .unwrap();
    finish(&gpu, encoder);
    let answer = classifier.poll().unwrap().unwrap();
    assert!(answer.features.is_empty(), "nobody asked");
    assert!(classifier.heat_map().is_none(), "nobody asked");
    for (guesses, row) in answer.guesses.iter().zip(want[1].data().chunks(1000)) {
        assert_eq!(guesses[0].class, top_k(row, 1)[0], "best");
    }
    assert_eq!(answer.guesses.len(), 2, "one list for each image");
}

#[test]
fn stages_are_tapped_and_their_elements_are_where_it_is_said() {
    let gpu = gpu();
    let mut options = ModelOptions::default();
    options.batch = 2;
    options.size = Some([32, 48]);
    let network = Arch::ResNet18.random(5, &options).unwrap();
    let mut model = network.model(&options).unwrap();
    let stages = [1, 2, 3, 4].map(Role::Stage);
    for stage in stages {
        let value = model.graph.role(stage).unwrap();
        model.graph.mark_output(value).unwrap();
    }
    let graph = optimize(&model.graph, Fusion::Full).unwrap();
    let executor = Executor::new(&gpu.device, &gpu.queue, &plan(&gpu, &graph)).unwrap();
    for (stage, shape) in stages.into_iter().zip([
        [2, 64, 8, 12],
        [2, 128, 4, 6],
        [2, 256, 2, 3],
        [2, 512, 1, 2],
    ]) {
        let (output, buffer) = executor.output(stage).unwrap();
        assert_eq!(output.shape.dims(), shape, "{stage}");
        assert!(
            buffer.usage().contains(wgpu::BufferUsages::STORAGE),
            "{stage}"
        );
        let [n, c, h, w] = shape;
        let numbers = Numbers::new(6).tensor(&shape);
        let packed = pack(output.shape, numbers.data());
        for (i, &value) in numbers.data().iter().enumerate() {
            let at = [i / (c * h * w), i / (h * w) % c, i / w % h, i % w];
            assert!(packed[output.index(at)] == value, "{stage} {at:?} of {n}");
        }
    }
    // The shader's function reads the same element.
    let (output, _) = executor.output(Role::Stage(2)).unwrap();
    let source = format!(
        "@group(0) @binding(0) var<storage, read> tap: array<f32>;\n\
         @group(0) @binding(1) var<storage, read_write> found: array<f32>;\n{}\n\
         @compute @workgroup_size(1) fn main() {{ found[0] = load(1u, 77u, 3u, 2u); }}",
        output.wgsl("tap")
    );
    let device = &gpu.device;
    let shader = device.create_shader_module(wgpu::ShaderModuleDescriptor {
        label: Some("host"),
        source: wgpu::ShaderSource::Wgsl(source.into()),
    });
    let pipeline = device.create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
        label: Some("host"),
        layout: None,
        module: &shader,
        entry_point: Some("main"),
        compilation_options: wgpu::PipelineCompilationOptions::default(),
        cache: None,
    });
    let found = device.create_buffer(&wgpu::BufferDescriptor {
        label: Some("host"),
        size: 4,
        usage: wgpu::BufferUsages::STORAGE | wgpu::BufferUsages::COPY_SRC,
        mapped_at_creation: false,
    });
    let visible = device.create_buffer(&wgpu::BufferDescriptor {
        label: Some("host"),
        size: 4,
        usage: wgpu::BufferUsages::MAP_READ | wgpu::BufferUsages::COPY_DST,
        mapped_at_creation: false,
    });
    let (_, tap) = executor.output(Role::Stage(2)).unwrap();
    let bindings = device.create_bind_group(&wgpu::BindGroupDescriptor {
        label: Some("host"),
        layout: &pipeline.get_bind_group_layout(0),
        entries: &[(0, tap), (1, &found)].map(|(binding, buffer)| wgpu::BindGroupEntry {
            binding,
            resource: buffer.as_entire_binding(),
        }),
    });
    let image = Numbers::new(7).tensor(&[2, 3, 32, 48]);
    executor.write_tensor(&gpu.queue, &image).unwrap();
    let readback = Readback::of(device, &executor, [Role::Stage(2)]).unwrap();
    let mut encoder = encoder(&gpu);
    executor
        .record(&mut encoder, &Input::uploaded(), &Output::kept())
        .unwrap();
    readback.record(&mut encoder).unwrap();
    {
        let mut pass = encoder.begin_compute_pass(&wgpu::ComputePassDescriptor::default());
        pass.set_pipeline(&pipeline);
        pass.set_bind_group(0, &bindings, &[]);
        pass.dispatch_workgroups(1, 1, 1);
    }
    encoder.copy_buffer_to_buffer(&found, 0, &visible, 0, 4);
    gpu.queue.submit([encoder.finish()]);
    visible.map_async(wgpu::MapMode::Read, .., |_| ());
    let want = read(device, &readback).remove(0);
    let got: f32 = bytemuck::pod_read_unaligned(&visible.get_mapped_range(..).unwrap());
    let at = ((128 + 77) * 4 + 3) * 6 + 2;
    assert!(got == want.data()[at], "{got} for {}", want.data()[at]);
}

#[test]
fn pipelines_of_another_device_are_an_error() {
    let devices = small_devices([wgpu::Limits::default(), wgpu::Limits::default()]);
    let ((device, queue), (stranger, _)) = (&devices[0], &devices[1]);
    let plan = Plan::new(&network(11), &PlanOptions::new(Capabilities::default())).unwrap();
    let strangers = Pipelines::new(stranger, None);
    let built = Executor::with_pipelines(device, queue, &plan, &strangers, &mut |_| ());
    let error = built.unwrap_err();
    assert!(error.to_string().contains("another device"), "{error}");
}

/// In one frame, or over as many as there are parts; and what ends a run that was begun.
#[test]
fn a_run_in_parts_has_the_same_answer() {
    let gpu = gpu();
    let mut options = ModelOptions::default();
    options.size = Some([32, 32]);
    let network = Arch::ResNet18.random(7, &options).unwrap();
    let builder = Classifier::builder(&network).model(options).features();
    let mut classifier = builder.build(&gpu).unwrap();
    let scenes = [1, 2].map(|seed| scene(&gpu, seed).0);
    let want = scenes
        .each_ref()
        .map(|view| look(&gpu, &mut classifier, view));
    let frame = |classifier: &mut Classifier, view: &wgpu::TextureView, parts: u32| {
        let mut encoder = encoder(&gpu);
        let run = classifier.record_part(&mut encoder, view, parts).unwrap();
        finish(&gpu, encoder);
        run
    };
    for parts in [1, 2, 3, 7, 1000] {
        let mut frames = 1;
        let run = loop {
            // What it looks at later makes no difference.
            let view = &scenes[usize::from(frames > 1)];
            match frame(&mut classifier, view, parts) {
                Poll::Ready(run) => break run,
                Poll::Pending => frames += 1,
            }
        };
        assert!(frames <= parts, "{frames} frames for {parts} parts");
        assert!(
            parts > 3 || frames == parts,
            "{frames} frames for {parts} parts"
        );
        let answer = classifier.poll().unwrap().unwrap();
        assert_eq!(Some(answer.run), run, "{parts} parts");
        assert_eq!(answer.guesses, want[0].guesses, "{parts} parts");
        assert_eq!(answer.features, want[0].features, "{parts} parts");
    }

    // Another run in between ends it.
    assert!(frame(&mut classifier, &scenes[0], 2).is_pending());
    let answer = look(&gpu, &mut classifier, &scenes[1]);
    assert_eq!(answer.features, want[1].features, "the whole run");
    assert!(
        frame(&mut classifier, &scenes[1], 2).is_pending(),
        "from the start"
    );
    assert!(frame(&mut classifier, &scenes[1], 2).is_ready());
    let answer = classifier.poll().unwrap().unwrap();
    assert_eq!(answer.features, want[1].features);

    // Also one on an input of the host's.
    assert!(frame(&mut classifier, &scenes[0], 2).is_pending());
    let views = [(&scenes[1], TextureRead::default())];
    let input = classifier.executor().texture_input(&gpu.device, &views);
    let mut encoder_of_whole = encoder(&gpu);
    let whole = classifier.record_input(&mut encoder_of_whole, &input.unwrap());
    finish(&gpu, encoder_of_whole);
    let answer = classifier.poll().unwrap().unwrap();
    assert_eq!(Some(answer.run), whole.unwrap());
    assert_eq!(answer.features, want[1].features, "the host's input");
    assert!(
        frame(&mut classifier, &scenes[0], 2).is_pending(),
        "from the start"
    );
    assert!(frame(&mut classifier, &scenes[0], 2).is_ready());
    let answer = classifier.poll().unwrap().unwrap();
    assert_eq!(answer.features, want[0].features);

    let none = classifier.record_part(&mut encoder(&gpu), &scenes[0], 0);
    assert!(matches!(none, Err(Error::Recording { .. })), "{none:?}");
}

/// Prints what recording a run costs the host's thread.
#[test]
#[ignore = "for measurements"]
fn time_of_recording() {
    let gpu = gpu();
    let options = ModelOptions::default();
    let network = Arch::ResNet50.random(7, &options).unwrap();
    let mut classifier = Classifier::builder(&network).build(&gpu).unwrap();
    let (view, _) = scene(&gpu, 1);
    let mut times = Vec::new();
    for _ in 0..12 {
        let mut encoder = encoder(&gpu);
        let start = Instant::now();
        classifier.record(&mut encoder, &view).unwrap();
        let recorded = start.elapsed();
        let commands = encoder.finish();
        let finished = start.elapsed();
        gpu.queue.submit([commands]);
        times.push([recorded, finished, start.elapsed()]);
        gpu.device
            .poll(wgpu::PollType::wait_indefinitely())
            .unwrap();
        classifier.poll().unwrap();
    }
    times.sort();
    let dispatches = classifier.executor().dispatch_count();
    eprintln!(
        "{dispatches} dispatches: record, finish, submit: {:?}",
        times[6]
    );
}
