//! Kernels that a driver compiles wrongly: found, named and replaced, by the library and by the program.
//! Needs an adapter.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "../../../tests/common/mod.rs"]
mod common;

use std::path::Path;
use std::process::Command;

use common::{Numbers, assert_close, gpu, reference};
use resnet_wgpu::Error;
use resnet_wgpu::check::Check;
use resnet_wgpu::gpu::{Context, Session};
use resnet_wgpu::graph::Graph;
use resnet_wgpu::internals::check::CheckCache;
use resnet_wgpu::internals::compare::Tolerance;
use resnet_wgpu::internals::graph::{
    Conv2d, GlobalAvgPool, Linear, MaxPool, Op, PadValue, Softmax, Window,
};
use resnet_wgpu::plan::{Capabilities, KernelPath, Plan, PlanOptions};
use resnet_wgpu::tensor::{Shape, Tensor};
use resnet_wgpu::wgpu;
use serde_json::Value;

/// A convolution, a pool, an average, a linear layer and the probabilities.
fn network() -> (Graph, Tensor) {
    let mut numbers = Numbers::new(5);
    let mut graph = Graph::new();
    let shape = Shape::new(1, 8, 15, 13);
    let input = graph.input("image", shape).unwrap();
    let weight = graph.param("conv.weight", numbers.tensor(&[12, 8, 3, 3]));
    let conv = Conv2d::new(weight).stride(2).padding(1);
    let x = graph.add("conv", Op::Conv2d(conv), &[input]).unwrap();
    let pool = Op::MaxPool(MaxPool {
        window: Window::square(3, 2).padded(1),
        pad_value: PadValue::NegInfinity,
    });
    let x = graph.add("pool", pool, &[x]).unwrap();
    let average = Op::GlobalAvgPool(GlobalAvgPool);
    let x = graph.add("average", average, &[x]).unwrap();
    let weight = graph.param("fc.weight", numbers.tensor(&[5, 12]));
    let linear = Op::Linear(Linear { weight, bias: None });
    let logits = graph.add("fc", linear, &[x]).unwrap();
    let softmax = graph.add("softmax", Op::Softmax(Softmax), &[logits]);
    graph.mark_output(softmax.unwrap()).unwrap();
    (graph, numbers.tensor(&shape.dims()))
}

fn options(gpu: &Context, path: KernelPath) -> PlanOptions {
    PlanOptions::new(Capabilities::of(&gpu.device)).path(path)
}

/// Spoils the kernel of a node for images of odd width, in the tile that its plan chose.
fn spoil(gpu: &Context, plan: &Plan, node: &str) -> String {
    let step = plan.steps().iter().find(|step| step.node == node).unwrap();
    let launch = &step.launch;
    let tile = launch.tile.iter();
    let tile: String = tile
        .map(|(name, value)| format!(" && {name} == {value}u"))
        .collect();
    let (old, width) = match launch.kernel.name {
        "conv2d_tiled" => ("    var y = sum + bias[co_group];", "i32(IN_W)"),
        "conv2d_texture" => (
            "            if (co_group < geometry.out_groups && px < geometry.out_pixels) {",
            "geometry.in_w",
        ),
        other => panic!("no fault is known for {other}"),
    };
    let new = format!("{old} if (({width} & 1) == 1{tile}) {{ y *= 1.5; }}");
    gpu.pipelines.spoil(launch.kernel.name, old, new.leak());
    step.choice.unwrap().to_string()
}

fn names(check: &Check) -> Vec<&str> {
    check
        .wrong()
        .iter()
        .map(|kernel| kernel.name.as_str())
        .collect()
}

#[track_caller]
fn assert_right(gpu: &Context, graph: &Graph, x: &Tensor, options: &PlanOptions) -> Plan {
    let plan = Plan::new(graph, options).unwrap();
    let got = Session::new(gpu, &plan).unwrap().run(x).unwrap();
    let tolerance = Tolerance {
        atol: 1e-5,
        rtol: 0.0,
    };
    assert_close("the answer", &reference(graph, x)[0], &got[0], tolerance);
    plan
}

#[test]
fn a_device_that_is_right_stays_as_it_is() {
    let gpu = gpu();
    let (graph, x) = network();
    for path in [KernelPath::Auto, KernelPath::Buffers] {
        let options = options(&gpu, path);
        let mut check = Check::new(&graph, &options).unwrap();
        check.run(&gpu).unwrap();
        assert!(check.wrong().is_empty(), "{:?}", check.wrong());
        assert_eq!(check.right().len(), 5, "every kind: {:?}", check.right());
        assert_eq!(check.options(), &options, "nothing is replaced");
        assert_right(&gpu, &graph, &x, check.options());
    }
}

#[test]
fn a_wrong_tile_is_named_and_the_next_one_takes_its_place() {
    let (graph, x) = network();
    for path in [KernelPath::Auto, KernelPath::Buffers] {
        let gpu = gpu();
        let options = options(&gpu, path);
        let before = Plan::new(&graph, &options).unwrap();
        let wrong = spoil(&gpu, &before, "conv");
        let spoilt = Session::new(&gpu, &before).unwrap().run(&x).unwrap();
        let want = &reference(&graph, &x)[0];
        assert!(
            spoilt[0]
                .data()
                .iter()
                .zip(want.data())
                .any(|(a, b)| (a - b).abs() > 1e-3),
            "the fault shows"
        );
        let mut check = Check::new(&graph, &options).unwrap();
        check.run(&gpu).unwrap();
        assert_eq!(names(&check), [wrong.as_str()], "{path}");
        assert_eq!(check.wrong()[0].layer, "conv");
        assert!(check.wrong()[0].difference.unwrap() > 0.1);
        let after = assert_right(&gpu, &graph, &x, check.options());
        let others = |plan: &Plan| {
            let steps = plan.steps().iter().filter(|step| step.node != "conv");
            steps
                .map(|step| step.launch.kernel.name)
                .collect::<Vec<_>>()
        };
        assert_eq!(others(&before), others(&after), "the neighbours stay");
    }
}

#[test]
fn what_is_wrong_on_textures_runs_on_buffers_if_it_can() {
    let (graph, x) = network();
    let options_of = |gpu: &Context| options(gpu, KernelPath::Auto);
    for (kernel, old, new) in [
        (
            "max_pool_texture",
            "narrowed(y)",
            "narrowed(y + f32(IN_W % 2u))",
        ),
        (
            "texture_to_tensor",
            "folded(FOLD_WIDTH + ix)",
            "folded(FOLD_WIDTH + ix + 1u)",
        ),
    ] {
        let gpu = gpu();
        let plan = Plan::new(&graph, &options_of(&gpu)).unwrap();
        let kernels = plan.steps().iter().map(|step| step.launch.kernel.name);
        let uses = kernels.into_iter().any(|name| name.ends_with("_texture"));
        gpu.pipelines.spoil(kernel, old, new);
        let mut check = Check::new(&graph, &options_of(&gpu)).unwrap();
        check.run(&gpu).unwrap();
        // An adapter on which everything runs on buffers has no such fault.
        let expected: &[&str] = if uses { &[kernel] } else { &[] };
        assert_eq!(names(&check), expected);
        let plan = assert_right(&gpu, &graph, &x, check.options());
        assert!(
            plan.steps()
                .iter()
                .all(|step| step.launch.kernel.name != kernel)
        );
    }
}

#[test]
fn what_cannot_be_replaced_is_an_error_that_names_it() {
    let gpu = gpu();
    let (graph, _) = network();
    gpu.pipelines
        .spoil("softmax", "/ total", "/ (total * 1.01)");
    let options = options(&gpu, KernelPath::Auto);
    let mut check = Check::new(&graph, &options).unwrap();
    match check.run(&gpu) {
        Err(Error::WrongKernel { kernel, node }) => assert_eq!([kernel, node], ["softmax"; 2]),
        other => panic!("{other:?}"),
    }
    assert_eq!(names(&check), ["softmax"], "and is known from now on");
}

#[test]
fn a_host_checks_over_frames_and_is_never_blocked() {
    let gpu = gpu();
    let (graph, _) = network();
    let mut check = Check::new(&graph, &options(&gpu, KernelPath::Auto)).unwrap();
    let mut frames = 0;
    while !check
        .advance(&gpu.device, &gpu.queue, &gpu.pipelines)
        .unwrap()
    {
        gpu.device.poll(wgpu::PollType::Poll).unwrap();
        frames += 1;
        std::thread::yield_now();
    }
    assert!(frames >= 10, "two for each of the five cases: {frames}");
    assert!(check.wrong().is_empty());
}

// === Files ===

/// A network of a single kind, so that every sample finds it.
fn single() -> Graph {
    let mut graph = Graph::new();
    let input = graph.input("image", Shape::new(1, 8, 15, 13)).unwrap();
    let weight = graph.param("weight", Numbers::new(5).tensor(&[12, 8, 3, 3]));
    let conv = Conv2d::new(weight).stride(2).padding(1);
    let y = graph.add("conv", Op::Conv2d(conv), &[input]).unwrap();
    graph.mark_output(y).unwrap();
    graph
}

fn cache(gpu: &Context, options: &PlanOptions, folder: &Path) -> CheckCache {
    CheckCache::new(folder, gpu, options, "30")
}

fn checked(gpu: &Context, graph: &Graph, options: &PlanOptions, cache: &CheckCache) -> Check {
    let mut check = Check::new(graph, options).unwrap();
    cache.load(&mut check).unwrap();
    check.run(gpu).unwrap();
    check
}

#[test]
fn a_file_that_says_that_all_is_well_is_not_believed() {
    let folder = tempfile::tempdir().unwrap();
    let graph = single();
    let healthy = gpu();
    let options = options(&healthy, KernelPath::Auto);
    let file = cache(&healthy, &options, folder.path());
    file.store(&checked(&healthy, &graph, &options, &file))
        .unwrap();

    // The file is whole and of this device, and yet the kernel is wrong.
    let gpu = gpu();
    let wrong = spoil(&gpu, &Plan::new(&graph, &options).unwrap(), "conv");
    let check = checked(&gpu, &graph, &options, &file);
    assert_eq!(names(&check), [wrong.as_str()], "found by a sample");
    file.store(&check).unwrap();
    // Once it is known it is left out at once.
    let mut check = Check::new(&graph, &options).unwrap();
    file.load(&mut check).unwrap();
    assert_eq!(names(&check), [wrong.as_str()], "before anything runs");

    // A file that was changed by hand is refused as a whole.
    let text = std::fs::read_to_string(file.file()).unwrap();
    let forged = text.replace(&wrong, "nothing");
    assert_ne!(text, forged);
    std::fs::write(file.file(), forged).unwrap();
    let error = file.load(&mut Check::new(&graph, &options).unwrap());
    assert!(matches!(error, Err(Error::Cache { .. })), "{error:?}");
    assert!(
        CheckCache::wrong_on(folder.path(), None).is_empty(),
        "nor is it shown"
    );
}

#[test]
fn most_of_what_is_known_is_not_checked_again() {
    let folder = tempfile::tempdir().unwrap();
    let gpu = gpu();
    let (graph, _) = network();
    let options = options(&gpu, KernelPath::Auto);
    let file = cache(&gpu, &options, folder.path());
    file.store(&checked(&gpu, &graph, &options, &file)).unwrap();
    let mut check = Check::new(&graph, &options).unwrap();
    assert_eq!(check.left(), 5);
    file.load(&mut check).unwrap();
    assert_eq!(check.left(), 1, "a sample");
    check.run(&gpu).unwrap();
    assert_eq!(check.right().len(), 5);
    let before = std::fs::read(file.file()).unwrap();
    file.store(&check).unwrap();
    assert_eq!(std::fs::read(file.file()).unwrap(), before);
}

// === The program ===

fn resnet(args: &[&str], cache: &Path) -> (String, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_resnet"))
        .args(args)
        .env_remove("RUST_LOG")
        .env("RESNET_CACHE_DIR", cache)
        // llvmpipe as it is in this process: the program itself would ask for wider vectors.
        .env(
            "LP_NATIVE_VECTOR_WIDTH",
            std::env::var_os("LP_NATIVE_VECTOR_WIDTH").unwrap_or("256".into()),
        )
        .output()
        .unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    let (stdout, stderr) = (text(output.stdout), text(output.stderr));
    assert!(output.status.success(), "{args:?}: {stdout}\n{stderr}");
    (stdout, stderr)
}

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap()
}

#[test]
fn the_program_names_what_is_wrong_and_answers_rightly() {
    let folder = tempfile::tempdir().unwrap();
    let bench = [
        "bench",
        "--iterations",
        "1",
        "--warmup",
        "0",
        "--format",
        "json",
    ];
    let bench = [&bench[..], &["--arch", "resnet18", "--size", "32"]].concat();
    let (stdout, stderr) = resnet(&bench, folder.path());
    assert!(!stderr.contains("computes wrongly"), "{stderr}");
    let report = json(&stdout);
    assert_eq!(report["wrong_kernels"], serde_json::json!([]));
    let version = report["versions"]["wgpu"].as_str().unwrap_or_default();

    // What a start finds on a device whose kernel for the convolution is wrong.
    let gpu = gpu();
    let graph = single();
    let options = options(&gpu, KernelPath::Auto);
    let wrong = spoil(&gpu, &Plan::new(&graph, &options).unwrap(), "conv");
    let file = CheckCache::new(folder.path(), &gpu, &options, version);
    assert!(file.file().exists(), "the program has the same key");
    let mut check = Check::new(&graph, &options).unwrap();
    check.run(&gpu).unwrap();
    file.store(&check).unwrap();

    let (stdout, stderr) = resnet(&bench, folder.path());
    let line = format!("warning: the kernel '{wrong}' computes wrongly on this device");
    assert_eq!(stderr.matches(&line).count(), 1, "{stderr}");
    assert_eq!(json(&stdout)["wrong_kernels"][0]["name"], *wrong);
    let (stdout, _) = resnet(&["devices", "--format", "json"], folder.path());
    let devices = json(&stdout);
    let chosen = devices["adapters"].as_array().unwrap().iter();
    let mut chosen = chosen.filter(|adapter| adapter["chosen"] == true);
    assert_eq!(chosen.next().unwrap()["wrong_kernels"][0]["name"], *wrong);
    let inspect = [
        "inspect", "--arch", "resnet18", "--size", "32", "--format", "json",
    ];
    let (stdout, _) = resnet(&inspect, folder.path());
    assert_eq!(json(&stdout)["wrong_kernels"][0]["name"], *wrong);
    let unchecked = [&bench[..], &["--no-self-check"]].concat();
    let (_, stderr) = resnet(&unchecked, folder.path());
    assert!(!stderr.contains("computes wrongly"), "{stderr}");
}
