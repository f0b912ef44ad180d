//! Each distinct layer of ResNet-50, 224×224, on the GPU: milliseconds, GFLOP/s and GB/s.
//!
//! Times are the GPU's own (timestamps around one compute pass per dispatch, median of the runs), so
//! neither recording nor submission nor readback is in them; bytes count each tensor once, so caches
//! can make GB/s exceed the memory's. The logits are compared with the fast CPU path first.
//! `cargo bench --bench kernels -- --test` runs everything once on small images.

#![allow(clippy::print_stdout, reason = "a bench prints its table")]
#![expect(
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    reason = "a remainder of 255 fits a byte; figures need three digits"
)]

use std::collections::BTreeMap;

use resnet_wgpu::compare::{Difference, Tolerance};
use resnet_wgpu::cpu::CpuExecutor;
use resnet_wgpu::gpu::{Context, Session, plan_limits};
use resnet_wgpu::models::{self, Arch, ModelOptions};
use resnet_wgpu::passes::{Fusion, optimize};
use resnet_wgpu::plan::{Plan, PlanOptions, Step};
use resnet_wgpu::tensor::Tensor;
use resnet_wgpu::weights::Weights;

fn main() -> Result<(), resnet_wgpu::Error> {
    let testing = std::env::args().any(|argument| argument == "--test");
    let (side, runs) = if testing { (64, 1) } else { (224, 11) };
    let context = pollster::block_on(Context::from_env())?;
    println!(
        "{} ({:?}, {})",
        context.info.name, context.info.backend, context.info.driver_info
    );

    let options = ModelOptions {
        size: Some([side, side]),
        softmax: false,
        ..ModelOptions::default()
    };
    let model = models::build(Some(Arch::ResNet50), &mut Weights::random(0), &options)?;
    let graph = optimize(&model.graph, Fusion::Full)?;
    let plan_options = PlanOptions {
        limits: plan_limits(&context.device),
        ..PlanOptions::default()
    };
    let plan = Plan::new(&graph, &plan_options)?;
    let session = Session::new(&context, &plan, &mut |_| ())?;

    let input = Tensor::from_fn(&[1, 3, side, side], |i| {
        f32::from((i * 31 % 255) as u8) / 127.5 - 1.0
    });
    let want = CpuExecutor::new(&graph)?.run(std::slice::from_ref(&input))?;
    let got = session.run(&input)?;
    let largest = want[0].data().iter().fold(0.0f32, |a, b| a.max(b.abs()));
    let tolerance = Tolerance {
        atol: largest * 1e-4,
        rtol: 1e-3,
    };
    let difference = Difference::between(&want[0], &got[0], tolerance)?;
    assert!(
        difference.is_within(),
        "refusing to time wrong results: {difference}"
    );

    let mut samples = vec![Vec::new(); plan.steps().len()];
    for _ in 0..runs {
        for (samples, ms) in samples.iter_mut().zip(session.run_step_timed()?) {
            samples.push(ms);
        }
    }
    print_table(plan.steps(), &samples);
    Ok(())
}

/// One line per distinct layer, the slowest first.
fn print_table(steps: &[Step], samples: &[Vec<f64>]) {
    let mut rows: BTreeMap<String, (usize, f64, &Step)> = BTreeMap::new();
    for (step, samples) in steps.iter().zip(samples) {
        let mut samples = samples.clone();
        samples.sort_by(f64::total_cmp);
        let median = samples[samples.len() / 2];
        let launch = &step.launch;
        let key = format!(
            "{} {:?} {:?}",
            launch.kernel.name, launch.overrides, step.shape
        );
        let row = rows.entry(key).or_insert((0, 0.0, step));
        row.0 += 1;
        row.1 += median;
    }
    let mut rows: Vec<_> = rows.into_values().collect();
    rows.sort_by(|a, b| b.1.total_cmp(&a.1));
    println!(
        "{:<24} {:<18} {:<20} {:>2} {:>9} {:>9} {:>8}",
        "first layer", "kernel", "output", "n", "ms each", "GFLOP/s", "GB/s"
    );
    let mut total = 0.0;
    for (count, ms, step) in rows {
        total += ms;
        let each = ms / count as f64;
        let per_second = |amount: u64| amount as f64 / (each * 1e6);
        println!(
            "{:<24} {:<18} {:<20} {count:>2} {each:>9.3} {:>9.1} {:>8.1}",
            step.node,
            step.launch.kernel.name,
            step.shape.to_string(),
            per_second(2 * step.macs),
            per_second(step.bytes),
        );
    }
    println!("sum {total:.1} ms");
}
