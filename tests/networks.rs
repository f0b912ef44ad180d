//! Whole networks on the GPU against the oracle. Needs an adapter.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use common::{Numbers, assert_close, gpu, paths, reference, run_with};
use resnet_wgpu::gpu::{Context, Session};
use resnet_wgpu::graph::{Graph, Role};
use resnet_wgpu::internals::compare::Tolerance;
use resnet_wgpu::internals::kernels::Precision;
use resnet_wgpu::network::Arch;
use resnet_wgpu::network::{Model, ModelOptions};
use resnet_wgpu::passes::{Fusion, optimize};
use resnet_wgpu::picture::top_k;
use resnet_wgpu::plan::{Capabilities, Plan, PlanOptions, Winograd};
use resnet_wgpu::tensor::Tensor;

fn model(arch: Arch, batch: usize, size: [usize; 2], classes: usize) -> Model {
    let mut options = ModelOptions::default();
    options.batch = batch;
    options.size = Some(size);
    options.classes = Some(classes);
    let network = arch.random(0, &options).unwrap();
    network.model(&options).unwrap()
}

fn session(gpu: &Context, graph: &Graph, fusion: Fusion) -> Session {
    let graph = optimize(graph, fusion).unwrap();
    let options = PlanOptions::new(Capabilities::of(&gpu.device));
    Session::new(gpu, &Plan::new(&graph, &options).unwrap()).unwrap()
}

/// Checks that logits are within 1e-3 of the oracle relative to the largest, that the top five
/// agree, and that probabilities sum to one.
fn check(arch: Arch, batch: usize, size: [usize; 2], fusions: &[Fusion]) {
    let gpu = gpu();
    let model = model(arch, batch, size, 10);
    let input = Numbers::new(8).tensor(&model.graph.value_of(Role::Image).unwrap().shape.dims());
    let want = reference(&model.graph, &input);
    let scale = want[0].data().iter().fold(0.0f32, |a, b| a.max(b.abs()));
    assert!(
        scale.is_finite() && scale > 0.0,
        "{arch:?}: the network says something"
    );
    for &fusion in fusions {
        let got = session(&gpu, &model.graph, fusion).run(&input).unwrap();
        let tolerance = Tolerance {
            atol: scale * 1e-5,
            rtol: 1e-4,
        };
        assert_close(
            &format!("{arch:?} {fusion} logits"),
            &want[0],
            &got[0],
            tolerance,
        );
        let rows = want[0].data().chunks(10).zip(got[0].data().chunks(10));
        for (n, (want, got)) in rows.enumerate() {
            assert_eq!(
                top_k(want, 5),
                top_k(got, 5),
                "{arch:?} {fusion}: top five of image {n}"
            );
        }
        for (n, row) in got[1].data().chunks(10).enumerate() {
            let sum: f32 = row.iter().sum();
            assert!(
                (sum - 1.0).abs() < 1e-5,
                "{arch:?} {fusion}: image {n} sums to {sum}"
            );
        }
    }
}

#[test]
fn resnet18_with_a_batch_of_three_wide_images() {
    check(
        Arch::ResNet18,
        3,
        [33, 47],
        &[Fusion::Full, Fusion::Layers, Fusion::None],
    );
}

#[test]
fn resnet34_of_odd_size() {
    check(Arch::ResNet34, 1, [39, 33], &[Fusion::Full]);
}

#[test]
fn resnet50_with_a_batch_of_two() {
    check(Arch::ResNet50, 2, [64, 48], &[Fusion::Full, Fusion::Layers]);
}

#[test]
fn resnet101_on_the_smallest_image() {
    check(Arch::ResNet101, 1, [32, 32], &[Fusion::Full]);
}

#[test]
fn resnet152_on_the_smallest_image() {
    check(Arch::ResNet152, 1, [32, 32], &[Fusion::Full]);
}

#[test]
fn resnet18_with_winograd_and_on_halves() {
    let gpu = gpu();
    let model = model(Arch::ResNet18, 2, [32, 40], 10);
    let graph = optimize(&model.graph, Fusion::Full).unwrap();
    let input = Numbers::new(9).tensor(&model.graph.value_of(Role::Image).unwrap().shape.dims());
    let want = &reference(&model.graph, &input)[0];
    let scale = want.data().iter().fold(0.0f32, |a, b| a.max(b.abs()));
    let cases = [
        (Precision::F32, Winograd::Four, 1e-4),
        (Precision::F16, Winograd::Two, 2e-2),
    ];
    for (precision, winograd, allowed) in cases {
        for path in paths(&gpu) {
            let options = PlanOptions::new(Capabilities::of(&gpu.device))
                .path(path)
                .precision(precision)
                .winograd(winograd);
            let got = &run_with(&gpu, &options, &graph, &input)[0];
            let what = format!("{precision}, Winograd {winograd}, on {path}");
            let tolerance = Tolerance {
                atol: scale * allowed,
                rtol: 0.0,
            };
            assert_close(&what, want, got, tolerance);
            let rows = want.data().chunks(10).zip(got.data().chunks(10));
            for (want, got) in rows {
                assert_eq!(top_k(want, 5), top_k(got, 5), "{what}");
            }
        }
    }
}

#[test]
fn the_lesson_as_a_chain_of_layers_and_fused() {
    check(Arch::Notebook, 2, [64, 64], &[Fusion::Layers, Fusion::Full]);
}

#[test]
fn every_layer_can_be_asked_for_by_name_and_agrees_with_the_oracle() {
    let gpu = gpu();
    let model = model(Arch::ResNet18, 1, [40, 32], 7);
    let mut graph = optimize(&model.graph, Fusion::Full).unwrap();
    let values: Vec<_> = graph
        .values()
        .map(|(id, value)| (id, value.name.clone()))
        .collect();
    for (id, _) in &values {
        graph.mark_output(*id).unwrap();
    }
    let options = PlanOptions::new(Capabilities::of(&gpu.device));
    let session = Session::new(&gpu, &Plan::new(&graph, &options).unwrap()).unwrap();
    let input = Numbers::new(4).tensor(&[1, 3, 40, 32]);
    let got = session.run(&input).unwrap();
    let keep = resnet_wgpu::internals::reference::Keep::All;
    let want = resnet_wgpu::internals::reference::run_keeping(
        &model.graph,
        std::slice::from_ref(&input),
        keep,
    )
    .unwrap();
    assert_eq!(
        session.executor().outputs().len(),
        values.len(),
        "every value is kept"
    );
    for (output, got) in session.executor().outputs().iter().zip(&got) {
        let want = want.get(model.graph.find(&output.name).unwrap()).unwrap();
        let scale = want.data().iter().fold(0.0f32, |a, b| a.max(b.abs()));
        let tolerance = Tolerance {
            atol: scale * 1e-5,
            rtol: 1e-4,
        };
        assert_close(&output.name, want, got, tolerance);
    }
}

#[test]
fn runs_do_not_leave_traces_in_later_runs() {
    let gpu = gpu();
    let model = model(Arch::ResNet18, 1, [32, 32], 10);
    let session = session(&gpu, &model.graph, Fusion::Full);
    let mut numbers = Numbers::new(12);
    let (a, b) = (
        numbers.tensor(&[1, 3, 32, 32]),
        numbers.tensor(&[1, 3, 32, 32]),
    );
    let first = session.run(&a).unwrap();
    let other = session.run(&b).unwrap();
    assert_ne!(first, other, "other images, other logits");
    assert_eq!(first, session.run(&a).unwrap(), "the same image again");
    assert_eq!(
        first,
        session.run_uploaded().unwrap(),
        "without another upload"
    );
}

#[test]
fn images_of_a_batch_do_not_see_each_other() {
    let gpu = gpu();
    let mut numbers = Numbers::new(21);
    let pair = numbers.tensor(&[2, 3, 32, 32]);
    let half = pair.len() / 2;
    let single =
        |i: usize| Tensor::new(&[1, 3, 32, 32], pair.data()[i * half..][..half].to_vec()).unwrap();
    let both = session(
        &gpu,
        &model(Arch::ResNet18, 2, [32, 32], 10).graph,
        Fusion::Full,
    );
    let one = session(
        &gpu,
        &model(Arch::ResNet18, 1, [32, 32], 10).graph,
        Fusion::Full,
    );
    let logits = both.run(&pair).unwrap();
    for i in 0..2 {
        let alone = one.run(&single(i)).unwrap();
        assert_eq!(
            alone[0].data(),
            &logits[0].data()[i * 10..][..10],
            "image {i}, bit for bit"
        );
    }
}

#[test]
fn an_input_of_another_shape_is_an_error() {
    let gpu = gpu();
    let session = session(
        &gpu,
        &model(Arch::ResNet18, 1, [32, 40], 10).graph,
        Fusion::Full,
    );
    let error = session
        .run(&Tensor::from_fn(&[1, 3, 40, 32], |_| 0.0))
        .unwrap_err();
    assert!(error.to_string().contains("[1, 3, 32, 40]"), "{error}");
}
