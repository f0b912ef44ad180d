//! Tests of `runner.rs` that need its private parts. They need an adapter.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::cell::Cell;

use resnet_wgpu::internals::graph::{Conv2d, GlobalAvgPool, Linear, Op};
use resnet_wgpu::internals::noise::Noise;
use resnet_wgpu::tensor::Shape;
use tempfile::TempDir;

use super::*;
use crate::DeviceOptions;

const SHAPE: Shape = Shape {
    n: 1,
    c: 8,
    h: 9,
    w: 7,
};

/// A convolution whose weights are these.
fn network(weight: Tensor) -> Graph {
    let mut graph = Graph::new();
    let input = graph.input("image", SHAPE).unwrap();
    let weight = graph.param("conv.weight", weight);
    let conv = Conv2d::new(weight).padding(1);
    let y = graph.add("conv", Op::Conv2d(conv), &[input]).unwrap();
    graph.mark_output(y).unwrap();
    graph
}

fn noise() -> Graph {
    network(Noise::new(7).tensor(&[8, 8, 3, 3]))
}

/// An adapter whose caches are empty.
fn opened(precision: Precision, winograd: Winograd) -> (Device, TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let device = Device::open(DeviceOptions {
        cache_dir: Some(folder.path().to_owned()),
        precision,
        winograd,
        ..DeviceOptions::default()
    });
    (device.unwrap(), folder)
}

fn gpu_of(device: &Device) -> &Arc<Gpu> {
    match device {
        Device::Gpu(gpu) => gpu,
        Device::Cpu => panic!("an adapter is needed"),
    }
}

fn made(device: &Device, graph: &Graph) -> Runner {
    Runner::new(device, graph, InputFormat::Tensor, &mut |_| ()).unwrap()
}

fn assert_near(got: &[Tensor], want: &[Tensor]) {
    let (got, want) = (got[0].data(), want[0].data());
    assert_eq!(got.len(), want.len(), "length");
    let largest = want.iter().fold(1.0f32, |a, b| a.max(b.abs()));
    for (got, want) in got.iter().zip(want) {
        assert!((got - want).abs() <= 1e-2 * largest, "{got} for {want}");
    }
}

#[test]
fn a_lost_device_leaves_everything_to_the_cpu() {
    let (device, _folder) = opened(Precision::F32, Winograd::Auto);
    let graph = noise();
    let x = Noise::new(8).tensor(&SHAPE.dims());
    let runner = made(&device, &graph);
    let before = runner.run(&x).unwrap();
    assert!(runner.gpu().is_some(), "before");
    assert_ne!(device.info().backend, "cpu", "before");
    let other = made(&device, &graph);

    gpu_of(&device).context.device.destroy();
    assert_near(&runner.run(&x).unwrap(), &before);
    assert!(runner.gpu().is_none(), "it goes on with the CPU");
    assert_eq!(device.info().backend, "cpu", "which results name");
    assert_near(&runner.run(&x).unwrap(), &before);
    assert_near(&other.run(&x).unwrap(), &before);
    let later = made(&device, &graph);
    assert_near(&later.run(&x).unwrap(), &before);
    // What measures a device does not measure another.
    let strict = Runner::on(&device, &graph, InputFormat::Tensor, &mut |_| ());
    let error = strict.map(|_| ()).unwrap_err();
    assert!(matches!(error, Error::DeviceLost { .. }), "{error}");
}

#[test]
fn a_device_that_is_lost_while_a_network_is_prepared_leaves_it_to_the_cpu() {
    let (device, _folder) = opened(Precision::F32, Winograd::Auto);
    gpu_of(&device).context.device.destroy();
    let x = Noise::new(8).tensor(&SHAPE.dims());
    let runner = made(&device, &noise());
    assert!(runner.gpu().is_none(), "CPU");
    runner.run(&x).unwrap();
}

#[test]
fn what_does_not_fit_goes_on_with_the_cpu_and_the_rest_stays() {
    let (device, _folder) = opened(Precision::F32, Winograd::Auto);
    let graph = noise();
    let x = Noise::new(8).tensor(&SHAPE.dims());
    let runner = made(&device, &graph);
    let want = runner.run(&x).unwrap();
    let fails = |error: fn() -> Error| {
        let first = Cell::new(true);
        let x = x.clone();
        move |engine: &dyn Engine| {
            if first.replace(false) {
                return Err(error());
            }
            engine.run(&x)
        }
    };
    // An error of another kind is no reason.
    let other = fails(|| Error::Gpu {
        what: "a test".to_owned(),
        reason: "wrong".to_owned(),
    });
    let refused = runner.go(|| x.clone(), other);
    assert!(matches!(refused, Err(Refused::Library(Error::Gpu { .. }))));
    assert!(runner.gpu().is_some(), "it stays");

    let full = fails(|| Error::OutOfMemory {
        what: "a test".to_owned(),
    });
    assert_near(&runner.go(|| x.clone(), full).unwrap(), &want);
    assert!(runner.gpu().is_none(), "it goes on with the CPU");
    assert!(made(&device, &graph).gpu().is_some(), "others do not");
}

/// A convolution, an average and a linear layer, on an image wider than those on which single kernels are
/// checked.
fn several(width: usize) -> (Graph, Tensor) {
    let mut graph = Graph::new();
    let mut noise = Noise::new(3);
    let shape = Shape::new(1, 8, 11, width);
    let x = graph.input("image", shape).unwrap();
    let weight = graph.param("conv.weight", noise.tensor(&[12, 8, 3, 3]));
    let conv = Op::Conv2d(Conv2d::new(weight).stride(2).padding(1));
    let x = graph.add("conv", conv, &[x]).unwrap();
    let average = Op::GlobalAvgPool(GlobalAvgPool);
    let x = graph.add("average", average, &[x]).unwrap();
    let weight = graph.param("fc.weight", noise.tensor(&[5, 12]));
    let linear = Op::Linear(Linear { weight, bias: None });
    let x = graph.add("fc", linear, &[x]).unwrap();
    graph.mark_output(x).unwrap();
    (graph, noise.tensor(&shape.dims()))
}

/// Makes the convolution wrong for images of some widths.
fn spoil(device: &Device, graph: &Graph, widths: &str) {
    let gpu = gpu_of(device);
    let plan = Plan::new(graph, &gpu.default_options(InputFormat::Tensor)).unwrap();
    let conv = plan.steps().iter().find(|step| step.node == "conv");
    let kernel = conv.unwrap().launch.kernel.name;
    let (old, width) = match kernel {
        "conv2d_tiled" => ("    var y = sum + bias[co_group];", "i32(IN_W)"),
        "conv2d_texture" => (
            "            if (co_group < geometry.out_groups && px < geometry.out_pixels) {",
            "geometry.in_w",
        ),
        other => panic!("no fault is known for {other}"),
    };
    let new = format!("{old} if ({width} {widths}) {{ y *= 1.5; }}");
    gpu.context.pipelines.spoil(kernel, old, new.leak());
}

fn on_the_cpu(graph: &Graph, x: &Tensor) -> Vec<Tensor> {
    made(&Device::Cpu, graph).run(x).unwrap()
}

#[test]
fn on_a_new_adapter_the_network_is_checked_as_a_whole() {
    let (device, folder) = opened(Precision::F32, Winograd::Auto);
    let gpu = gpu_of(&device);
    let (graph, x) = several(21);
    let (plan, check) = gpu.plan_first(&graph, InputFormat::Tensor).unwrap();
    assert!(check.is_some(), "its kernels are not, one by one");
    let runner = made(&device, &graph);
    let keys = plan.steps().iter().map(|step| step.launch.pipeline_key());
    let needed = keys.collect::<std::collections::HashSet<_>>().len();
    let compiled = gpu.context.pipelines.count();
    assert_eq!(compiled, needed, "nothing but what the network needs");
    assert!(runner.gpu().is_some(), "right");
    assert_near(&runner.run(&x).unwrap(), &on_the_cpu(&graph, &x));
    // The next start knows.
    let again = Device::open(DeviceOptions {
        cache_dir: Some(folder.path().to_owned()),
        ..DeviceOptions::default()
    });
    let later = gpu_of(again.as_ref().unwrap()).plan_first(&graph, InputFormat::Tensor);
    let (_, check) = later.unwrap();
    assert!(
        check.is_none_or(|check| check.is_known()),
        "but for samples"
    );
}

#[test]
fn a_network_of_which_the_cpu_says_nothing_is_checked_once() {
    let (device, _folder) = opened(Precision::F32, Winograd::Auto);
    let graph = network(Tensor::from_fn(&[8, 8, 3, 3], |_| 0.0));
    let gpu = gpu_of(&device);
    let (_, check) = gpu.plan_first(&graph, InputFormat::Tensor).unwrap();
    assert!(!check.unwrap().is_known(), "before");
    assert!(
        made(&device, &graph).gpu().is_some(),
        "its kernels are right"
    );
    let (_, check) = gpu.plan_first(&graph, InputFormat::Tensor).unwrap();
    assert!(check.is_none_or(|check| check.is_known()), "after");
}

#[test]
fn a_kernel_that_spoils_the_network_is_named_and_replaced() {
    let (device, _folder) = opened(Precision::F32, Winograd::Auto);
    let (graph, x) = several(21);
    spoil(&device, &graph, "% 2 == 1");
    let runner = made(&device, &graph);
    assert!(runner.gpu().is_some(), "another kernel does it");
    assert_eq!(gpu_of(&device).wrong()[0].layer, "conv");
    assert_near(&runner.run(&x).unwrap(), &on_the_cpu(&graph, &x));
}

#[test]
fn a_network_that_is_right_says_nothing_about_another_size() {
    let (device, folder) = opened(Precision::F32, Winograd::Auto);
    let ((even, y), (odd, x)) = (several(20), several(21));
    spoil(&device, &even, "% 2 == 1");
    let runner = made(&device, &even);
    assert_near(&runner.run(&y).unwrap(), &on_the_cpu(&even, &y));
    assert!(gpu_of(&device).wrong().is_empty(), "it does not show");
    let runner = made(&device, &odd);
    assert_eq!(gpu_of(&device).wrong()[0].layer, "conv");
    assert_near(&runner.run(&x).unwrap(), &on_the_cpu(&odd, &x));
    drop(folder);
}

#[test]
fn a_network_that_is_wrong_though_each_kernel_is_right_runs_on_the_cpu() {
    let (device, _folder) = opened(Precision::F32, Winograd::Auto);
    let (graph, x) = several(21);
    spoil(&device, &graph, "== 21");
    let runner = made(&device, &graph);
    assert!(runner.gpu().is_none(), "nothing else is right");
    assert_near(&runner.run(&x).unwrap(), &on_the_cpu(&graph, &x));
    assert_eq!(device.info().backend, "cpu", "which results name");
    let strict = Runner::on(&device, &graph, InputFormat::Tensor, &mut |_| ());
    let error = strict.map(|_| ()).unwrap_err();
    assert!(matches!(error, Error::WrongKernel { .. }), "{error}");
}

/// Bright everywhere: what the transforms add up is four times as large.
fn bright(value: f32) -> Tensor {
    Tensor::from_fn(&SHAPE.dims(), |_| value)
}

/// A convolution that takes the pixel in the middle, as it is.
fn copies() -> Graph {
    let taps = |i: usize| {
        let (output, input, tap) = (i / 72, i / 9 % 8, i % 9);
        if output == input && tap == 4 {
            1.0
        } else {
            0.0
        }
    };
    network(Tensor::from_fn(&[8, 8, 3, 3], taps))
}

#[test]
fn tensors_are_checked_for_what_halves_hold_as_pictures_are() {
    let (device, _folder) = opened(Precision::F16, Winograd::Off);
    let graph = network(Tensor::from_fn(&[8, 8, 3, 3], |_| 100.0));
    let runner = made(&device, &graph);
    for _ in 0..2 {
        let refused = runner.run(&bright(100.0));
        let Err(Refused::Overflow { value, largest }) = refused else {
            panic!("{refused:?}");
        };
        assert_eq!((value.as_str(), largest), ("conv", 720_000.0));
    }
    runner.run(&bright(1.0)).unwrap();
}

#[test]
fn what_winograds_algorithm_stores_is_checked_too() {
    let graph = copies();
    let (device, _folder) = opened(Precision::F16, Winograd::Two);
    let refused = made(&device, &graph).run(&bright(20_000.0));
    let Err(Refused::Overflow { value, largest }) = refused else {
        panic!("{refused:?}");
    };
    assert_eq!((value.as_str(), largest), ("conv (Winograd)", 80_000.0));
    // A number that could overflow there, and does not.
    let corner = |i: usize| if i == 0 { 60_000.0 } else { 0.0 };
    let x = Tensor::from_fn(&SHAPE.dims(), corner);
    assert_near(
        &made(&device, &graph).run(&x).unwrap(),
        std::slice::from_ref(&x),
    );
}

#[test]
fn where_nobody_asked_for_winograds_algorithm_it_goes_on_without() {
    let (device, _folder) = opened(Precision::F16, Winograd::Auto);
    let gpu = gpu_of(&device);
    let graph = copies();
    let mut runner = made(&device, &graph);
    // As if it had been chosen.
    let options = gpu.default_options(InputFormat::Tensor);
    let plan = Plan::new(&graph, &options.winograd(Winograd::Two)).unwrap();
    let steps = plan.steps().len();
    runner.place = Place::on_gpu(gpu, plan, &mut |_| ()).unwrap();
    let x = bright(20_000.0);
    assert_near(&runner.run(&x).unwrap(), std::slice::from_ref(&x));
    let (_, plan) = runner.gpu().expect("it stays on the GPU");
    assert!(plan.steps().len() < steps, "without Winograd");
}
