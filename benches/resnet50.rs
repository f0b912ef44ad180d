//! ResNet-50 end to end, 224×224, batch 1 and 8: the GPU, the fast CPU path and the reference.
//!
//! Results are compared with the reference before anything is timed. GPU times include the
//! submission and the wait, but not the upload of the image or the readback. `cargo bench --bench
//! resnet50 -- --test` runs everything once on small images.

#![allow(
    missing_docs,
    reason = "criterion's macros expand to undocumented items"
)]
#![expect(
    clippy::cast_possible_truncation,
    reason = "a remainder of 255 fits a byte"
)]

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use resnet_wgpu::engine::{CpuExecutor, Engine};
use resnet_wgpu::gpu::{Context, Session};
use resnet_wgpu::graph::Role;
use resnet_wgpu::internals::compare::{Difference, Tolerance};
use resnet_wgpu::internals::reference;
use resnet_wgpu::network::Arch;
use resnet_wgpu::network::ModelOptions;
use resnet_wgpu::passes::{Fusion, optimize};
use resnet_wgpu::plan::{Capabilities, Plan, PlanOptions};
use resnet_wgpu::tensor::Tensor;

fn end_to_end(criterion: &mut Criterion) {
    let testing = std::env::args().any(|argument| argument == "--test");
    let side = if testing { 64 } else { 224 };
    let context = pollster::block_on(Context::from_env()).expect("a GPU adapter");
    eprintln!(
        "{} ({:?}, {})",
        context.info.name, context.info.backend, context.info.driver_info
    );

    let mut group = criterion.benchmark_group("resnet50");
    group.sample_size(10);
    for batch in [1, 8] {
        let mut options = ModelOptions::default();
        options.batch = batch;
        options.size = Some([side, side]);
        options.softmax = false;
        let model = Arch::ResNet50
            .random(0, &options)
            .and_then(|network| network.model(&options))
            .expect("the random network is sound");
        let graph = optimize(&model.graph, Fusion::Full).expect("the passes keep it sound");
        let plan_options = PlanOptions::new(Capabilities::of(&context.device));
        let plan = Plan::new(&graph, &plan_options).expect("the device is large enough");
        let session = Session::new(&context, &plan).expect("the device takes the plan");
        let cpu = CpuExecutor::new(&graph).expect("the CPU takes every graph");

        // A fixed pattern between −1 and 1.
        let dims = model
            .graph
            .value_of(Role::Image)
            .expect("networks see an image")
            .shape
            .dims();
        let input = Tensor::from_fn(&dims, |i| f32::from((i * 31 % 255) as u8) / 127.5 - 1.0);
        let inputs = std::slice::from_ref(&input);
        let reference_logits = || {
            let activations = reference::run(&model.graph, inputs).expect("the input fits");
            activations
                .get(
                    model
                        .graph
                        .role(Role::Logits)
                        .expect("networks have logits"),
                )
                .expect("logits are an output")
                .clone()
        };
        let want = reference_logits();
        let largest = want.data().iter().fold(0.0f32, |a, b| a.max(b.abs()));
        let tolerance = Tolerance {
            atol: largest * 1e-4,
            rtol: 1e-3,
        };
        let paths = [
            ("gpu", session.run(&input).expect("the input fits")),
            ("cpu", cpu.run(&input).expect("the input fits")),
        ];
        for (path, got) in paths {
            let difference = Difference::between(&want, &got[0], tolerance).expect("same shape");
            assert!(
                difference.is_within(),
                "{path}, batch {batch}: {difference}"
            );
        }

        group.bench_function(BenchmarkId::new("gpu", batch), |b| {
            b.iter(|| session.run_timed().expect("the device works"));
        });
        group.bench_function(BenchmarkId::new("cpu", batch), |b| {
            b.iter(|| cpu.run(&input).expect("the input fits"));
        });
        if batch == 1 {
            group.bench_function(BenchmarkId::new("reference", batch), |b| {
                b.iter(reference_logits);
            });
        }
    }
    group.finish();
}

criterion_group!(benches, end_to_end);
criterion_main!(benches);
