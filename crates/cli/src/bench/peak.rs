//! The peak rates of an adapter, which bound the speed of layers (roofline model).
//!
//! Williams, Waterman & Patterson, Roofline, 2009: given its number of operations per byte, a layer
//! can be no faster than the arithmetic allows, and no faster than memory delivers its bytes.

use std::time::Instant;

use pollster::block_on;
use resnet_wgpu::gpu::{Context, Session};
use resnet_wgpu::graph::Graph;
use resnet_wgpu::internals::graph::{Op, Relu};
use resnet_wgpu::plan::{Capabilities, InputFormat, Plan, PlanOptions};
use resnet_wgpu::tensor::Shape;
use resnet_wgpu::wgpu;
use serde::Serialize;

use super::layers::LayerTime;
use crate::failure::Failure;
use crate::output::bytes;
use crate::stats::{milliseconds, quantile};

/// Height and width of the 64-channel images that are copied: 1 to 64 MiB.
const COPY_SIDES: [usize; 4] = [64, 128, 256, 512];
const COPY_RUNS: usize = 5;

/// Workgroups in a dispatch of `peak.wgsl`, threads per workgroup, and operations per iteration.
const WORKGROUPS: u32 = 4096;
const THREADS: u32 = 64;
const ROUND_FLOPS: u32 = 2 * 8 * 8;
/// Duration of a probe: long enough that submission and clock resolution do not matter.
const PROBE_MS: f64 = 30.0;
const MAX_ROUNDS: u32 = 1 << 20;

/// The highest rates measured, and the device they were measured on.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Peak {
    pub(super) gflops: f64,
    pub(super) gflops_of: String,
    pub(super) gigabytes_per_s: f64,
    pub(super) gigabytes_per_s_of: String,
}

impl Peak {
    /// Runs the probes. A layer that is faster than they are raises the peak.
    pub(super) fn measure(context: &Context, layers: &[LayerTime]) -> Result<Self, Failure> {
        let mut peak = Self {
            gflops: 0.0,
            gflops_of: String::new(),
            gigabytes_per_s: 0.0,
            gigabytes_per_s_of: String::new(),
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

/// Rate of `peak.wgsl` in GFLOP/s, by the host's clock.
fn multiply_add(context: &Context, entry: &str) -> Result<f64, Failure> {
    let Context { device, queue, .. } = context;
    let scope = device.push_error_scope(wgpu::ErrorFilter::Validation);
    let module = device.create_shader_module(wgpu::include_wgsl!("peak.wgsl"));
    let pipeline = device.create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
        label: Some("peak"),
        layout: None,
        module: &module,
        entry_point: Some(entry),
        compilation_options: wgpu::PipelineCompilationOptions::default(),
        cache: None,
    });
    let work = device.create_buffer(&wgpu::BufferDescriptor {
        label: Some("peak"),
        size: 16,
        usage: wgpu::BufferUsages::STORAGE | wgpu::BufferUsages::COPY_DST,
        mapped_at_creation: false,
    });
    let bind_group = device.create_bind_group(&wgpu::BindGroupDescriptor {
        label: Some("peak"),
        layout: &pipeline.get_bind_group_layout(0),
        entries: &[wgpu::BindGroupEntry {
            binding: 0,
            resource: work.as_entire_binding(),
        }],
    });
    let failure = |error: String| Failure::runtime(format!("the peak cannot be measured: {error}"));
    if let Some(error) = block_on(scope.pop()) {
        return Err(failure(error.to_string()));
    }
    let run = |rounds: u32| {
        // Values stay bounded: a · 0.5 + 1 converges to 2.
        let mut bytes = [0; 16];
        bytes[..4].copy_from_slice(&0.5f32.to_le_bytes());
        bytes[4..8].copy_from_slice(&1.0f32.to_le_bytes());
        bytes[8..12].copy_from_slice(&rounds.to_le_bytes());
        queue.write_buffer(&work, 0, &bytes);
        let mut encoder = device.create_command_encoder(&wgpu::CommandEncoderDescriptor::default());
        let mut pass = encoder.begin_compute_pass(&wgpu::ComputePassDescriptor::default());
        pass.set_pipeline(&pipeline);
        pass.set_bind_group(0, &bind_group, &[]);
        pass.dispatch_workgroups(WORKGROUPS, 1, 1);
        drop(pass);
        let commands = encoder.finish();
        let start = Instant::now();
        queue.submit([commands]);
        device
            .poll(wgpu::PollType::wait_indefinitely())
            .map_err(|error| failure(error.to_string()))?;
        let ms = milliseconds(start.elapsed());
        let flops = f64::from(WORKGROUPS * THREADS) * f64::from(ROUND_FLOPS) * f64::from(rounds);
        Ok::<_, Failure>((ms, flops * 1e-6 / ms))
    };
    let mut rounds = 1;
    loop {
        let (ms, _) = run(rounds)?;
        if ms >= PROBE_MS || rounds >= MAX_ROUNDS {
            break;
        }
        rounds *= 2;
    }
    let mut best = 0.0f64;
    for _ in 0..3 {
        best = best.max(run(rounds)?.1);
    }
    Ok(best)
}
