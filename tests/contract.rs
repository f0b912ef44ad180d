//! The promises of `gpu::contract` that `embedding`, `frames` and `textures` do not cover: what a
//! frame costs, what a dropped executor leaves behind, and what is never touched. Needs an adapter.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Instant;

use common::{Numbers, assert_close, finish, gpu, reference};
use resnet_wgpu::gpu::{
    Context, Cursor, Executor, HeatMap, Input, Output, Pipelines, Prewarm, Readback, Slice,
    TextureRead, TextureRect,
};
use resnet_wgpu::graph::Graph;
use resnet_wgpu::internals::compare::Tolerance;
use resnet_wgpu::internals::graph::{Conv2d, GlobalAvgPool, Op};
use resnet_wgpu::internals::plan::{DeviceClass, DeviceKind, Vendor};
use resnet_wgpu::network::{Arch, ModelOptions};
use resnet_wgpu::passes::{Fusion, optimize};
use resnet_wgpu::picture::Preprocess;
use resnet_wgpu::plan::{Capabilities, InputFormat, KernelPath, Plan, PlanOptions};
use resnet_wgpu::tensor::Shape;
use resnet_wgpu::wgpu;

/// Heap memory in use, in bytes, and the most that was.
static HEAP: AtomicI64 = AtomicI64::new(0);
static PEAK: AtomicI64 = AtomicI64::new(0);

struct Counting;

#[expect(unsafe_code, reason = "an allocator is unsafe to implement")]
// SAFETY: every call is passed on to the system's allocator unchanged.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout, 1);
        // SAFETY: the caller upholds the contract of `alloc`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        count(layout, -1);
        // SAFETY: the caller upholds the contract of `dealloc`.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn count(layout: Layout, sign: i64) {
    let bytes = i64::try_from(layout.size()).unwrap_or(i64::MAX);
    let before = HEAP.fetch_add(sign * bytes, Ordering::Relaxed);
    PEAK.fetch_max(before + sign * bytes, Ordering::Relaxed);
}

/// The tests in this file measure the whole process, so they run one at a time.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE
        .lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner)
}

fn rules() -> Preprocess {
    Preprocess::NOTEBOOK.with_size([12, 10])
}

/// A plan for a convolution and its class activation map.
fn plan(gpu: &Context) -> Plan {
    let mut numbers = Numbers::new(1);
    let mut graph = Graph::new();
    let image = graph.input("image", Shape::new(1, 3, 12, 10)).unwrap();
    let weight = graph.param("weight", numbers.tensor(&[1, 3, 3, 3]));
    let conv = Conv2d::new(weight).padding(1).stride(2);
    let map = graph.add("map", Op::Conv2d(conv), &[image]).unwrap();
    let mean = graph
        .add("mean", Op::GlobalAvgPool(GlobalAvgPool), &[map])
        .unwrap();
    for output in [map, mean] {
        graph.mark_output(output).unwrap();
    }
    let options =
        PlanOptions::new(Capabilities::of(&gpu.device)).input(InputFormat::Rgba8(rules()));
    Plan::new(&graph, &options).unwrap()
}

/// Counts frames.
static FRAME: AtomicU32 = AtomicU32::new(0);

/// Everything that a host's frame may involve.
struct Host {
    executor: Executor,
    input: Input,
    output: Output,
    readback: Readback,
}

impl Host {
    fn new(gpu: &Context) -> Self {
        let texture = |format, usage| {
            gpu.device.create_texture(&wgpu::TextureDescriptor {
                label: Some("host"),
                size: wgpu::Extent3d {
                    width: 31,
                    height: 17,
                    depth_or_array_layers: 1,
                },
                mip_level_count: 1,
                sample_count: 1,
                dimension: wgpu::TextureDimension::D2,
                format,
                usage,
                view_formats: &[],
            })
        };
        let executor = Executor::new(&gpu.device, &gpu.queue, &plan(gpu)).unwrap();
        let source = texture(
            wgpu::TextureFormat::Rgba8Unorm,
            wgpu::TextureUsages::TEXTURE_BINDING,
        );
        let view = source.create_view(&wgpu::TextureViewDescriptor::default());
        let target = texture(
            wgpu::TextureFormat::Rgba8Unorm,
            wgpu::TextureUsages::COPY_DST,
        );
        let how = HeatMap::of("map");
        Self {
            input: executor
                .texture_input(&gpu.device, &[(&view, TextureRead::default())])
                .unwrap(),
            output: Output::builder(&executor)
                .keep("mean")
                .unwrap()
                .heat_map(&gpu.device, &target, &how)
                .unwrap()
                .build(),
            readback: Readback::of(&gpu.device, &executor, ["mean"]).unwrap(),
            executor,
        }
    }

    fn record(&self, encoder: &mut wgpu::CommandEncoder) {
        self.executor
            .record(encoder, &self.input, &self.output)
            .unwrap();
        self.readback.record(encoder).unwrap();
    }

    /// A frame as in an app: a run recorded at once, then another in slices.
    fn frame(&self, gpu: &Context) {
        let mut encoder = encoder(gpu);
        // What is looked at moves and grows.
        let left = FRAME.fetch_add(1, Ordering::Relaxed) % 20;
        let rect = TextureRect {
            left,
            top: 1,
            width: 11 - left / 2,
            height: 16,
        };
        self.input.set_rect(&gpu.queue, 0, rect).unwrap();
        self.record(&mut encoder);
        let mut run = self.executor.start(&self.input, &self.output).unwrap();
        while !run.record(&mut encoder, Slice::Steps(1)).unwrap() {}
        finish(gpu, encoder);
        assert!(self.readback.try_read().unwrap().is_some(), "arrived");
    }
}

fn encoder(gpu: &Context) -> wgpu::CommandEncoder {
    gpu.device
        .create_command_encoder(&wgpu::CommandEncoderDescriptor::default())
}

/// Names and sizes of all allocations in device memory, host-visible memory included. Only the
/// Vulkan and Direct3D 12 back ends report them.
fn device_memory(gpu: &Context) -> Vec<(String, u64)> {
    let report = gpu.device.generate_allocator_report();
    let report = report.expect("run these tests on Vulkan or Direct3D 12");
    let allocations = report.allocations.into_iter();
    let mut list: Vec<(String, u64)> = allocations.map(|a| (a.name, a.size)).collect();
    list.sort();
    list
}

#[test]
fn packed_weights_do_not_pile_up_on_the_host() {
    let _alone = alone();
    let gpu = gpu();
    let options = ModelOptions::default();
    let network = Arch::ResNet50.random(1, &options).unwrap();
    let graph = optimize(&network.model(&options).unwrap().graph, Fusion::Full).unwrap();
    let plan = Plan::new(&graph, &PlanOptions::new(Capabilities::of(&gpu.device))).unwrap();
    let weights = plan.weight_bytes();
    let pipelines = Pipelines::new(&gpu.device, None);

    let before = HEAP.load(Ordering::Relaxed);
    PEAK.store(before, Ordering::Relaxed);
    let mut most_staged = 0;
    let mut watch = |_| {
        let staging = |(name, _): &&(String, u64)| name.to_lowercase().contains("staging");
        let staged = device_memory(&gpu)
            .iter()
            .filter(staging)
            .map(|(_, bytes)| bytes)
            .sum();
        most_staged = most_staged.max(staged);
    };
    let executor =
        Executor::with_pipelines(&gpu.device, &gpu.queue, &plan, &pipelines, &mut watch).unwrap();
    let packed = u64::try_from(PEAK.load(Ordering::Relaxed) - before).unwrap();
    drop(executor);
    let stored = network
        .tensors()
        .values()
        .map(|tensor| tensor.len() as u64 * 4);
    let stored: u64 = stored.sum();
    let mebibytes = [packed, most_staged, weights, stored].map(|bytes| bytes >> 20);
    eprintln!("packed at a time, staged, packed weights, stored weights: {mebibytes:?} MiB");
    assert!(0 < most_staged, "staged");
    // As many as the file has are there in any case.
    assert!(
        (packed + most_staged) * 10 < stored * 3,
        "{mebibytes:?} MiB"
    );
}

#[test]
fn a_frame_makes_nothing_on_the_device_and_keeps_nothing_on_the_heap() {
    let _alone = alone();
    let gpu = gpu();
    let host = Host::new(&gpu);
    for _ in 0..20 {
        host.frame(&gpu);
    }
    let before = device_memory(&gpu);
    assert!(!before.is_empty(), "the executor has buffers");

    // While commands are recorded, before anything is submitted.
    let mut encoder = encoder(&gpu);
    let with_encoder = device_memory(&gpu);
    host.record(&mut encoder);
    let mut run = host.executor.start(&host.input, &host.output).unwrap();
    run.record(&mut encoder, Slice::Rest).unwrap();
    assert_eq!(device_memory(&gpu), with_encoder, "recording");
    finish(&gpu, encoder);

    let heap = HEAP.load(Ordering::Relaxed);
    for _ in 0..50 {
        host.frame(&gpu);
    }
    assert_eq!(device_memory(&gpu), before, "after fifty frames");
    let grown = HEAP.load(Ordering::Relaxed) - heap;
    assert!(grown < 16 << 10, "the heap grew by {grown} bytes");
}

#[test]
fn a_network_lies_in_memory_once() {
    let _alone = alone();
    let mut options = ModelOptions::default();
    options.size = Some([32, 32]);
    let network = Arch::ResNet18.random(0, &options).unwrap();
    let bytes: usize = network.tensors().values().map(|t| t.len() * 4).sum();
    let heap = HEAP.load(Ordering::Relaxed);
    let models: Vec<_> = [1, 4]
        .into_iter()
        .map(|batch| {
            let mut options = options.clone();
            options.batch = batch;
            let graph = optimize(&network.model(&options).unwrap().graph, Fusion::Full).unwrap();
            let plan = Plan::new(&graph, &PlanOptions::new(Capabilities::default())).unwrap();
            (graph, plan)
        })
        .collect();
    let grown = HEAP.load(Ordering::Relaxed) - heap;
    let allowed = i64::try_from(bytes / 20).unwrap();
    assert!(grown < allowed, "{} plans took {grown} bytes", models.len());
}

#[test]
fn executors_of_one_network_share_their_weights() {
    let _alone = alone();
    let gpu = gpu();
    let bytes = |gpu: &Context| -> u64 {
        let memory = device_memory(gpu).into_iter();
        memory
            .filter(|(name, _)| name.contains("weight"))
            .map(|(_, bytes)| bytes)
            .sum()
    };
    // Two layers whose kernels read their weights in the same order at any size.
    let plan = |batch: usize, side: usize, seed: u64| {
        let mut numbers = Numbers::new(seed);
        let mut graph = Graph::new();
        let shape = Shape::new(batch, 64, side, side);
        let mut x = graph.input("image", shape).unwrap();
        for name in ["a", "b"] {
            let weight = graph.param("weight", numbers.tensor(&[64, 64, 1, 1]));
            x = graph
                .add(name, Op::Conv2d(Conv2d::new(weight)), &[x])
                .unwrap();
        }
        graph.mark_output(x).unwrap();
        let options = PlanOptions::new(Capabilities::of(&gpu.device)).path(KernelPath::Buffers);
        Plan::new(&graph, &options).unwrap()
    };
    let build = |plan: &Plan| {
        let Context {
            device,
            queue,
            pipelines,
            ..
        } = &gpu;
        Executor::with_pipelines(device, queue, plan, pipelines, &mut |_| ()).unwrap()
    };
    let none = bytes(&gpu);
    let first = build(&plan(1, 14, 5));
    let one = bytes(&gpu) - none;
    assert!(one >= 2 * 64 * 64 * 4, "{one} bytes of weights");
    let others = [build(&plan(2, 14, 5)), build(&plan(1, 28, 5))];
    assert_eq!(bytes(&gpu) - none, one, "three executors, one set");
    let stranger = build(&plan(1, 14, 6));
    assert!(bytes(&gpu) - none > one, "other weights are others");
    drop((first, others, stranger));
    // What was to be uploaded is the queue's until it submits.
    gpu.queue.submit([]);
    gpu.device
        .poll(wgpu::PollType::wait_indefinitely())
        .unwrap();
    assert_eq!(bytes(&gpu), none, "nothing is kept for the next");
}

/// Of other sizes and batches the planner would choose other kernels, which read the weights in another order; it
/// prefers those that read what is there.
#[test]
fn executors_of_any_size_and_batch_read_one_copy_of_the_weights() {
    let _alone = alone();
    let gpu = gpu();
    let network = Arch::ResNet18.random(1, &ModelOptions::default()).unwrap();
    let weights = |gpu: &Context| -> u64 {
        let memory = device_memory(gpu).into_iter();
        memory
            .filter(|(name, _)| name.contains("weight") || name.contains("bias"))
            .map(|(_, bytes)| bytes)
            .sum()
    };
    // As on this device, and as on a GPU for which Winograd's algorithm pays off here and there.
    let mut intel = Capabilities::of(&gpu.device);
    intel.device = DeviceKind {
        class: DeviceClass::Integrated,
        vendor: Vendor::Intel,
    };
    for capabilities in [Capabilities::of(&gpu.device), intel] {
        let graph = |batch: usize, side: usize| {
            let mut options = ModelOptions::default();
            (options.batch, options.size) = (batch, Some([side, side]));
            optimize(&network.model(&options).unwrap().graph, Fusion::Full).unwrap()
        };
        let options = PlanOptions::new(capabilities);
        let build = |graph: &Graph, options: &PlanOptions| {
            let Context {
                device,
                queue,
                pipelines,
                ..
            } = &gpu;
            let plan = Plan::new(graph, options).unwrap();
            Executor::with_pipelines(device, queue, &plan, pipelines, &mut |_| ()).unwrap()
        };
        let sharing = || options.clone().sharing(&gpu.pipelines);
        let none = weights(&gpu);
        let graphs = [(1, 224), (1, 64), (4, 96)].map(|(batch, side)| graph(batch, side));
        let fresh = Plan::new(&graphs[0], &options).unwrap();
        let first = Plan::new(&graphs[0], &sharing()).unwrap();
        assert_eq!(fresh.to_string(), first.to_string(), "nothing is there");

        let mut executors = vec![build(&graphs[0], &sharing())];
        let one = weights(&gpu) - none;
        assert!(one >= 11_000_000 * 4, "{one} bytes");
        let mut plans = vec![fresh.to_string()];
        for graph in &graphs[1..] {
            plans.push(Plan::new(graph, &sharing()).unwrap().to_string());
            executors.push(build(graph, &sharing()));
        }
        assert_eq!(weights(&gpu) - none, one, "three executors, one copy");

        // In the same order elsewhere the plans are the same.
        let elsewhere = Pipelines::new(&gpu.device, None);
        let mut kept = Vec::new();
        for (graph, plan) in graphs.iter().zip(&plans) {
            let again = Plan::new(graph, &options.clone().sharing(&elsewhere)).unwrap();
            assert_eq!(again.to_string(), *plan);
            let (device, queue) = (&gpu.device, &gpu.queue);
            let built =
                Executor::with_pipelines(device, queue, &again, &elsewhere, &mut |_| ()).unwrap();
            kept.push(built);
        }
        drop(kept);
        settle(&gpu);

        // The second one is right.
        let image = Numbers::new(4).tensor(&[1, 3, 64, 64]);
        let executor = &executors[1];
        executor.write_tensor(&gpu.queue, &image).unwrap();
        let readback = Readback::new(&gpu.device, executor).unwrap();
        let mut encoder = encoder(&gpu);
        executor
            .record(&mut encoder, &Input::uploaded(), &Output::kept())
            .unwrap();
        readback.record(&mut encoder).unwrap();
        finish(&gpu, encoder);
        let (_, got) = readback.try_read().unwrap().unwrap();
        let want = reference(&graphs[1], &image);
        let tolerance = Tolerance {
            atol: 1e-4,
            rtol: 1e-3,
        };
        assert_close("logits", &want[0], &got[0], tolerance);

        let others = graphs[1..].iter().map(|graph| build(graph, &options));
        let others: Vec<Executor> = others.collect();
        assert!(weights(&gpu) - none > one, "else nothing was preferred");
        drop((executors, others));
        settle(&gpu);
        assert_eq!(weights(&gpu), none, "nothing is kept");
    }
}

/// Waits until what was dropped is freed.
fn settle(gpu: &Context) {
    gpu.queue.submit([]);
    let waited = gpu.device.poll(wgpu::PollType::wait_indefinitely());
    waited.unwrap();
}

/// Prints what one, two and three executors of ResNet-50 take on the device.
#[test]
#[ignore = "takes memory; for measurements"]
fn memory_of_executors() {
    let _alone = alone();
    let gpu = gpu();
    let network = Arch::ResNet50.random(1, &ModelOptions::default()).unwrap();
    let mut executors = Vec::new();
    for (batch, side) in [(1, 224), (1, 160), (4, 224)] {
        let mut options = ModelOptions::default();
        (options.batch, options.size) = (batch, Some([side, side]));
        let graph = optimize(&network.model(&options).unwrap().graph, Fusion::Full).unwrap();
        let options = PlanOptions::new(Capabilities::of(&gpu.device));
        let own = Plan::new(&graph, &options).unwrap();
        let Context {
            device,
            queue,
            pipelines,
            ..
        } = &gpu;
        let start = Instant::now();
        let plan = Plan::new(&graph, &options.sharing(pipelines)).unwrap();
        let executor =
            Executor::with_pipelines(device, queue, &plan, pipelines, &mut |_| ()).unwrap();
        let built = start.elapsed().as_secs_f64() * 1e3;
        executors.push(executor);
        gpu.queue.submit([]);
        gpu.device
            .poll(wgpu::PollType::wait_indefinitely())
            .unwrap();
        let memory = device_memory(&gpu);
        let of = |kind: &str| -> u64 {
            let named = memory.iter().filter(|(name, _)| name.contains(kind));
            named.map(|(_, bytes)| bytes).sum::<u64>() >> 20
        };
        let (weights, activations, all) = (of("weight"), of("activations"), of(""));
        eprintln!(
            "{} executors: {weights} MiB of weights, {activations} of activations, {all} in all; the last one \
             was planned and built in {built:.0} ms",
            executors.len()
        );
        // In turns: the kernels that read what is there, and those that it would have by itself.
        let alone = Pipelines::new(device, None);
        let alone = Executor::with_pipelines(device, queue, &own, &alone, &mut |_| ()).unwrap();
        let mut times = [const { Vec::new() }; 2];
        for _ in 0..15 {
            for (executor, times) in [&executors[executors.len() - 1], &alone]
                .iter()
                .zip(&mut times)
            {
                let start = Instant::now();
                let mut encoder = encoder(&gpu);
                executor
                    .record(&mut encoder, &Input::uploaded(), &Output::kept())
                    .unwrap();
                finish(&gpu, encoder);
                times.push(start.elapsed().as_secs_f64() * 1e3);
            }
        }
        let [shared, own] = times.map(|mut times| {
            times.sort_by(f64::total_cmp);
            format!("{:.1} ms (least {:.1})", times[times.len() / 2], times[0])
        });
        eprintln!("{batch}x{side}: {shared} with shared weights, {own} with its own");
    }
}

#[test]
fn a_dropped_executor_leaves_nothing_behind() {
    let _alone = alone();
    let gpu = gpu();
    let build_and_drop = |rounds: usize| {
        for _ in 0..rounds {
            let host = Host::new(&gpu);
            host.frame(&gpu);
            drop(host);
            gpu.device
                .poll(wgpu::PollType::wait_indefinitely())
                .unwrap();
        }
    };
    build_and_drop(20);
    let memory = device_memory(&gpu);
    let heap = HEAP.load(Ordering::Relaxed);
    build_and_drop(200);
    assert_eq!(device_memory(&gpu), memory, "device");
    let grown = HEAP.load(Ordering::Relaxed) - heap;
    assert!(
        grown < 256 << 10,
        "200 rounds left {grown} bytes on the heap"
    );
}

#[test]
fn whatever_is_made_carries_the_name_of_the_crate() {
    let _alone = alone();
    let gpu = gpu();
    let before = device_memory(&gpu);
    let host = Host::new(&gpu);
    let made: Vec<String> = device_memory(&gpu)
        .into_iter()
        .filter(|allocation| !before.contains(allocation))
        .map(|(name, _)| name)
        .collect();
    assert!(
        made.iter().any(|name| name.starts_with("resnet-wgpu ")),
        "{made:?}"
    );
    for name in made {
        let known = name.starts_with("resnet-wgpu") || name.starts_with("host");
        // Uploads go through wgpu's own buffers.
        assert!(known || name.starts_with("(wgpu"), "{name}");
    }
    drop(host);
}

#[test]
fn recording_neither_submits_nor_polls() {
    let _alone = alone();
    let gpu = gpu();
    let host = Host::new(&gpu);
    host.frame(&gpu);
    let submission = || -> u64 {
        let index = format!("{:?}", gpu.queue.submit([]));
        let digits: String = index.chars().filter(char::is_ascii_digit).collect();
        digits.parse().unwrap()
    };
    let done = Arc::new(AtomicBool::new(false));
    // Counts submissions between two of the host's own, and detects polling.
    let between = |record: &mut dyn FnMut()| -> (u64, bool) {
        let before = submission();
        let flag = Arc::clone(&done);
        flag.store(false, Ordering::Relaxed);
        gpu.queue
            .on_submitted_work_done(move || flag.store(true, Ordering::Relaxed));
        record();
        let polled = done.load(Ordering::Relaxed);
        (submission() - before, polled)
    };
    let nothing = between(&mut || ());
    assert!(!nothing.1, "nothing was polled");
    let mut encoder = encoder(&gpu);
    let recording = between(&mut || {
        host.record(&mut encoder);
        let mut warm = host.executor.prewarm(&host.input, &host.output).unwrap();
        warm.record(&mut encoder, usize::MAX);
        let mut run = host.executor.start(&host.input, &host.output).unwrap();
        run.record(&mut encoder, Slice::Rest).unwrap();
    });
    assert_eq!(recording, nothing, "submissions, and whether it polled");
    let submitting = between(&mut || {
        gpu.queue.submit([]);
    });
    assert_eq!(submitting.0, nothing.0 + 1, "a submission would show");
    finish(&gpu, encoder);
    assert!(
        done.load(Ordering::Relaxed),
        "the host's own poll calls back"
    );
}

#[test]
fn executors_and_all_that_goes_with_them_can_move_between_threads() {
    fn shared<T: Send + Sync + 'static>() {}
    shared::<Executor>();
    shared::<Input>();
    shared::<Output>();
    shared::<Cursor>();
    shared::<Prewarm>();
    shared::<Readback>();
}

#[test]
fn every_test_that_the_contract_names_exists() {
    let text = include_str!("../src/gpu/contract.md");
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests");
    let quoted = text.split('`').skip(1).step_by(2);
    let names = quoted.filter_map(|name| name.split_once("::"));
    let mut found = 0;
    for (file, test) in names.filter(|(file, _)| !file.starts_with(char::is_uppercase)) {
        let Ok(source) = std::fs::read_to_string(folder.join(file).with_extension("rs")) else {
            assert_eq!(file, "crate", "{file}.rs is no file of tests");
            continue;
        };
        let declaration = format!("#[test]\nfn {test}() {{");
        assert!(source.contains(&declaration), "{file} has no test {test}");
        found += 1;
    }
    assert!(found >= 15, "{found} tests are named");
}
