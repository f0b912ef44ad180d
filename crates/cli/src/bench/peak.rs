//! The peak rates of an adapter, which bound the speed of layers (roofline model), and the cost of a
//! dispatch.
//!
//! Williams, Waterman & Patterson, Roofline, 2009: given its number of operations per byte, a layer
//! can be no faster than the arithmetic allows, and no faster than memory delivers its bytes.

use resnet_wgpu::gpu::{Context, Session};
use resnet_wgpu::graph::Graph;
use resnet_wgpu::internals::graph::{Op, Relu};
use resnet_wgpu::plan::{Capabilities, InputFormat, Plan, PlanOptions};
use resnet_wgpu::tensor::Shape;
use serde::Serialize;

use super::layers::LayerTime;
use super::probe::{Probe, Work};
use crate::failure::Failure;
use crate::output::bytes;
use crate::stats::quantile;

/// Height and width of the 64-channel images that are copied: 1 to 64 MiB.
const COPY_SIDES: [usize; 4] = [64, 128, 256, 512];
const COPY_RUNS: usize = 5;

/// Workgroups in a dispatch of `peak.wgsl` that keeps a device busy.
const WORKGROUPS: u32 = 4096;
/// Duration of a probe: long enough that submission and clock resolution do not matter.
const PROBE_MS: f64 = 30.0;
const MAX_ROUNDS: u32 = 1 << 20;

/// Dispatches of nothing, and how often they run.
const LAUNCHES: u32 = 200;
const LAUNCH_RUNS: usize = 5;

/// The highest rates measured, and the device they were measured on.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Peak {
    pub(super) gflops: f64,
    pub(super) gflops_of: String,
    pub(super) gigabytes_per_s: f64,
    pub(super) gigabytes_per_s_of: String,
    /// The time of a dispatch that does nothing, in microseconds.
    pub(super) launch_us: f64,
}

impl Peak {
    /// Runs the probes. A layer that is faster than they are raises the peak.
    pub(super) fn measure(context: &Context, layers: &[LayerTime]) -> Result<Self, Failure> {
        let mut peak = Self {
            gflops: 0.0,
            gflops_of: String::new(),
            gigabytes_per_s: 0.0,
            gigabytes_per_s_of: String::new(),
            launch_us: launch(context)?,
        };
        for entry in ["main", "fused"] {
            let rate = multiply_add(context, entry)?;
            log::debug!("peak.wgsl, {entry}: {rate:.1} GFLOP/s");
            peak.see_gflops(rate, "multiply-add loop");
        }
        for side in COPY_SIDES {
            let Some((rate, bytes_each)) = copy(context, side)? else {
                break;
            };
            let of = format!("relu on {}", bytes(bytes_each));
            log::debug!("{of}: {rate:.1} GB/s");
            peak.see_bandwidth(rate, &of);
        }
        for layer in layers {
            peak.see_gflops(layer.gflops, &layer.node);
            peak.see_bandwidth(layer.gigabytes_per_s, &layer.node);
        }
        Ok(peak)
    }

    /// The fraction of the peak that a layer reaches, in arithmetic or memory traffic, whichever is
    /// larger.
    pub(super) fn share(&self, layer: &LayerTime) -> f64 {
        let part = |of: f64, best: f64| if best > 0.0 { of / best } else { 0.0 };
        let memory = part(layer.gigabytes_per_s, self.gigabytes_per_s);
        part(layer.gflops, self.gflops).max(memory)
    }

    fn see_gflops(&mut self, gflops: f64, of: &str) {
        if gflops > self.gflops {
            (self.gflops, self.gflops_of) = (gflops, of.to_owned());
        }
    }

    fn see_bandwidth(&mut self, rate: f64, of: &str) {
        if rate > self.gigabytes_per_s {
            (self.gigabytes_per_s, self.gigabytes_per_s_of) = (rate, of.to_owned());
        }
    }
}

/// Rate of a ReLU in GB/s, and the bytes that it reads; `None` if the device lacks the memory.
fn copy(context: &Context, side: usize) -> Result<Option<(f64, u64)>, Failure> {
    let shape = Shape::new(1, 64, side, side);
    let mut graph = Graph::new();
    let input = graph.input("input", shape)?;
    let output = graph.add("relu", Op::Relu(Relu), &[input])?;
    graph.mark_output(output)?;
    let options = PlanOptions::new(Capabilities::of(&context.device)).input(InputFormat::Tensor);
    let ready = Plan::new(&graph, &options).and_then(|plan| {
        let session = Session::new(context, &plan)?;
        Ok((plan, session))
    });
    let (plan, session) = match ready {
        Ok(ready) => ready,
        Err(error) => {
            log::debug!("no copy of {side}×{side}: {error}");
            return Ok(None);
        }
    };
    let mut times = Vec::new();
    for _ in 0..COPY_RUNS {
        times.push(session.run_step_timed()?.iter().sum());
    }
    let moved: u64 = plan.steps().iter().map(|step| step.bytes).sum();
    let ms = quantile(&times, 0.0);
    // Zero if the clock is too coarse.
    Ok((ms > 0.0).then(|| (moved as f64 * 1e-6 / ms, 4 * shape.len() as u64)))
}

/// Rate of `peak.wgsl` in GFLOP/s.
fn multiply_add(context: &Context, entry: &str) -> Result<f64, Failure> {
    let probe = Probe::new(context, entry)?;
    let mut work = Work {
        dispatches: 1,
        workgroups: WORKGROUPS,
        rounds: 1,
    };
    while probe.time(work)? < PROBE_MS && work.rounds < MAX_ROUNDS {
        work.rounds *= 2;
    }
    let mut best = 0.0f64;
    for _ in 0..3 {
        best = best.max(work.gflop() * 1e3 / probe.time(work)?);
    }
    Ok(best)
}

/// The time of one more dispatch in a pass, in microseconds: it has one workgroup, does nothing, and waits
/// for the one before it.
fn launch(context: &Context) -> Result<f64, Failure> {
    let probe = Probe::new(context, "main")?;
    let best = |dispatches| -> Result<f64, Failure> {
        let work = Work {
            dispatches,
            workgroups: 1,
            rounds: 0,
        };
        (0..LAUNCH_RUNS).try_fold(f64::INFINITY, |best, _| Ok(best.min(probe.time(work)?)))
    };
    let (few, many) = (best(1)?, best(1 + LAUNCHES)?);
    Ok((many - few).max(0.0) * 1e3 / f64::from(LAUNCHES))
}
