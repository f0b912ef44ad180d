//! Each distinct layer of ResNet-50, 224×224, on the GPU: milliseconds, GFLOP/s, GB/s, and the
//! share of the peak in arithmetic or memory traffic, whichever is larger. The peaks are the best
//! rates over all layers.
//!
//! Each dispatch is timed separately by the session's `StepClock`: the device's timestamps, or else
//! the host's clock; the median of the runs counts. Each tensor's bytes count once, so caches can
//! push GB/s above that of the memory. The logits are compared with the fast CPU path first. `cargo
//! bench --bench kernels -- --test` runs everything once on small images.

#![allow(clippy::print_stdout, reason = "a bench prints its table")]
#![expect(
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    reason = "a remainder of 255 fits a byte; figures need three digits"
)]

use std::collections::BTreeMap;

use resnet_wgpu::engine::{CpuExecutor, Engine};
use resnet_wgpu::gpu::{Context, Session};
use resnet_wgpu::internals::compare::{Difference, Tolerance};
use resnet_wgpu::internals::plan::Step;
use resnet_wgpu::network::Arch;
use resnet_wgpu::network::ModelOptions;
use resnet_wgpu::passes::{Fusion, optimize};
use resnet_wgpu::plan::{Capabilities, Plan, PlanOptions};
use resnet_wgpu::tensor::Tensor;

fn main() -> Result<(), resnet_wgpu::Error> {
    let testing = std::env::args().any(|argument| argument == "--test");
    let (side, runs) = if testing { (64, 1) } else { (224, 11) };
    let context = pollster::block_on(Context::from_env())?;
    println!(
        "{} ({:?}, {})",
        context.info.name, context.info.backend, context.info.driver_info
    );

    let mut options = ModelOptions::default();
    options.size = Some([side, side]);
    options.softmax = false;
    let model = Arch::ResNet50
        .random(0, &options)
        .and_then(|network| network.model(&options))?;
    let graph = optimize(&model.graph, Fusion::Full)?;
    let plan_options = PlanOptions::new(Capabilities::of(&context.device));
    let plan = Plan::new(&graph, &plan_options)?;
    let session = Session::new(&context, &plan)?;

    let input = Tensor::from_fn(&[1, 3, side, side], |i| {
        f32::from((i * 31 % 255) as u8) / 127.5 - 1.0
    });
    let want = CpuExecutor::new(&graph)?.run(&input)?;
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

/// Layers that are the same work for the device.
struct Row<'a> {
    first: &'a Step,
    count: usize,
    /// The total time of these layers.
    ms: f64,
}

impl Row<'_> {
    /// The rate in 10⁹ per second if each layer has the given amount.
    fn rate(&self, amount: u64) -> f64 {
        amount as f64 * self.count as f64 / (self.ms * 1e6)
    }

    fn gflops(&self) -> f64 {
        self.rate(2 * self.first.macs)
    }

    fn gigabytes_per_s(&self) -> f64 {
        self.rate(self.first.bytes)
    }
}

/// Prints one line per distinct layer, slowest first.
fn print_table(steps: &[Step], samples: &[Vec<f64>]) {
    let mut rows: BTreeMap<String, Row<'_>> = BTreeMap::new();
    for (step, samples) in steps.iter().zip(samples) {
        let mut samples = samples.clone();
        samples.sort_by(f64::total_cmp);
        let launch = &step.launch;
        let key = format!(
            "{} {:?} {:?} {:?} {}",
            launch.kernel.name, launch.overrides, launch.tile, launch.immediates, step.shape
        );
        let row = rows.entry(key).or_insert(Row {
            first: step,
            count: 0,
            ms: 0.0,
        });
        row.count += 1;
        row.ms += samples[samples.len() / 2];
    }
    let mut rows: Vec<_> = rows.into_values().collect();
    rows.sort_by(|a, b| b.ms.total_cmp(&a.ms));
    let peak_gflops = rows.iter().map(Row::gflops).fold(0.0, f64::max);
    let peak_gigabytes = rows.iter().map(Row::gigabytes_per_s).fold(0.0, f64::max);
    println!(
        "{:<22} {:<23} {:<20} {:>2} {:>8} {:>8} {:>6} {:>9}",
        "first layer", "kernel", "output", "n", "ms each", "GFLOP/s", "GB/s", "% of peak"
    );
    for row in &rows {
        let (gflops, gigabytes) = (row.gflops(), row.gigabytes_per_s());
        println!(
            "{:<22} {:<23} {:<20} {:>2} {:>8.3} {gflops:>8.1} {gigabytes:>6.1} {:>9.0}",
            row.first.node,
            row.first.launch.kernel.name,
            row.first.shape.to_string(),
            row.count,
            row.ms / row.count as f64,
            100.0 * (gflops / peak_gflops).max(gigabytes / peak_gigabytes),
        );
    }
    println!(
        "sum {:.1} ms; peak {peak_gflops:.0} GFLOP/s, {peak_gigabytes:.1} GB/s",
        rows.iter().map(|row| row.ms).sum::<f64>()
    );
}
