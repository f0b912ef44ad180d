//! The time of each dispatch, measured separately.

use std::time::Instant;

use resnet_wgpu::gpu::Session;
use resnet_wgpu::plan::Plan;
use serde::Serialize;

use crate::args::BenchArgs;
use crate::failure::Failure;
use crate::output::{Table, sizes};
use crate::stats::median;

/// One dispatch of a run.
#[derive(Debug, Serialize)]
pub(super) struct LayerTime {
    pub(super) batch: usize,
    pub(super) node: String,
    pub(super) kernel: &'static str,
    output: [usize; 4],
    macs: u64,
    /// Input, parameter and output bytes, each counted once.
    bytes: u64,
    pub(super) ms: f64,
    /// Fraction of the total time of all dispatches.
    share: f64,
    pub(super) gflops: f64,
    pub(super) gigabytes_per_s: f64,
    /// Fraction of the adapter's peak, see [`super::peak::Peak::share`].
    pub(super) share_of_peak: f64,
}

impl LayerTime {
    /// Arithmetic operations per byte; zero for layers that only move or compare.
    pub(super) fn intensity(&self) -> f64 {
        2.0 * self.macs as f64 / self.bytes as f64
    }
}

/// Times every dispatch in a pass of its own, by the session's [`Session::step_clock`].
pub(super) fn measure(
    session: &Session,
    plan: &Plan,
    batch: usize,
    args: &BenchArgs,
) -> Result<Vec<LayerTime>, Failure> {
    let mut samples = vec![Vec::new(); plan.steps().len()];
    let begin = Instant::now();
    for _ in 0..args.iterations {
        for (samples, time) in samples.iter_mut().zip(session.run_step_timed()?) {
            samples.push(time);
        }
        if begin.elapsed().as_secs_f64() >= args.seconds {
            break;
        }
    }
    let times: Vec<f64> = samples.iter().map(|samples| median(samples)).collect();
    let total: f64 = times.iter().sum();
    let layers = plan.steps().iter().zip(times).map(|(step, ms)| LayerTime {
        batch,
        node: step.node.clone(),
        kernel: step.launch.kernel.name,
        output: step.shape.dims(),
        macs: step.macs,
        bytes: step.bytes,
        ms,
        share: per(ms, total),
        gflops: per(2.0 * step.macs as f64 * 1e-6, ms),
        gigabytes_per_s: per(step.bytes as f64 * 1e-6, ms),
        share_of_peak: 0.0,
    });
    Ok(layers.collect())
}

/// A rate; zero if the time is too short for the clock.
fn per(amount: f64, ms: f64) -> f64 {
    if ms > 0.0 { amount / ms } else { 0.0 }
}

/// Formats the dispatches as a table.
pub(super) fn table(layers: &[LayerTime]) -> Table {
    let header = "layer, kernel, output, ms, share %, GFLOP/s, GB/s, % of peak";
    let mut table = Table::new(3, header);
    for layer in layers {
        table.row([
            layer.node.clone(),
            layer.kernel.to_owned(),
            sizes(&layer.output),
            format!("{:.4}", layer.ms),
            format!("{:.1}", layer.share * 100.0),
            format!("{:.1}", layer.gflops),
            format!("{:.1}", layer.gigabytes_per_s),
            format!("{:.1}", layer.share_of_peak * 100.0),
        ]);
    }
    table
}
