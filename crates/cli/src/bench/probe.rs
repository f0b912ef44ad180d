//! Dispatches whose work is known: multiply-adds on registers, as many as they are told.

use std::time::Instant;

use pollster::block_on;
use resnet_wgpu::gpu::Context;
use resnet_wgpu::wgpu;

use crate::failure::Failure;
use crate::stats::milliseconds;

/// Threads in a workgroup of `peak.wgsl`, and operations of each in a round.
const THREADS: u32 = 64;
const ROUND_FLOPS: u32 = 2 * 8 * 8;

/// `peak.wgsl` on a device.
pub(super) struct Probe<'a> {
    context: &'a Context,
    pipeline: wgpu::ComputePipeline,
    work: wgpu::Buffer,
    bind_group: wgpu::BindGroup,
}

/// What a probe computes.
#[derive(Clone, Copy)]
pub(super) struct Work {
    /// Dispatches in one pass, each of which waits for the one before.
    pub(super) dispatches: u32,
    pub(super) workgroups: u32,
    /// How often each thread goes through its loop.
    pub(super) rounds: u32,
}

impl Work {
    /// Its operations, in billions.
    pub(super) fn gflop(self) -> f64 {
        let threads = f64::from(self.dispatches) * f64::from(self.workgroups * THREADS);
        threads * f64::from(ROUND_FLOPS) * f64::from(self.rounds) * 1e-9
    }
}

impl<'a> Probe<'a> {
    /// Compiles an entry point of the shader.
    pub(super) fn new(context: &'a Context, entry: &str) -> Result<Self, Failure> {
        let device = &context.device;
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
        if let Some(error) = block_on(scope.pop()) {
            return Err(failure(&error));
        }
        Ok(Self {
            context,
            pipeline,
            work,
            bind_group,
        })
    }

    /// The time from the submission until everything is done, in milliseconds, by the host's clock.
    pub(super) fn time(&self, work: Work) -> Result<f64, Failure> {
        let Context { device, queue, .. } = self.context;
        // Values stay bounded: a · 0.5 + 1 converges to 2.
        let mut bytes = [0; 16];
        bytes[..4].copy_from_slice(&0.5f32.to_le_bytes());
        bytes[4..8].copy_from_slice(&1.0f32.to_le_bytes());
        bytes[8..12].copy_from_slice(&work.rounds.to_le_bytes());
        queue.write_buffer(&self.work, 0, &bytes);
        let mut encoder = device.create_command_encoder(&wgpu::CommandEncoderDescriptor::default());
        let mut pass = encoder.begin_compute_pass(&wgpu::ComputePassDescriptor::default());
        pass.set_pipeline(&self.pipeline);
        pass.set_bind_group(0, &self.bind_group, &[]);
        for _ in 0..work.dispatches {
            pass.dispatch_workgroups(work.workgroups, 1, 1);
        }
        drop(pass);
        let commands = encoder.finish();
        let start = Instant::now();
        queue.submit([commands]);
        device
            .poll(wgpu::PollType::wait_indefinitely())
            .map_err(|error| failure(&error))?;
        Ok(milliseconds(start.elapsed()))
    }
}

fn failure(error: &dyn std::fmt::Display) -> Failure {
    Failure::runtime(format!("the peak cannot be measured: {error}"))
}
