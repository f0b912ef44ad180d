//! A graph on the chosen device: takes tensors or pictures, returns the outputs of the graph.

use std::time::Instant;

use resnet_wgpu::cpu::CpuExecutor;
use resnet_wgpu::engine::Engine;
use resnet_wgpu::gpu::Session;
use resnet_wgpu::graph::Graph;
use resnet_wgpu::plan::{InputFormat, Plan};

use crate::device::Device;
use crate::failure::Failure;
use crate::progress::Bars;
use crate::stats::milliseconds;

/// A graph that is ready to run.
#[derive(Debug)]
pub(crate) struct Runner {
    place: Place,
    /// The time taken to prepare weights and pipelines on the device.
    pub(crate) pipelines_ms: f64,
}

#[derive(Debug)]
enum Place {
    Gpu {
        session: Box<Session>,
        plan: Box<Plan>,
    },
    Cpu(Box<CpuExecutor>),
}

impl Runner {
    /// Plans the graph and prepares it for running.
    pub(crate) fn new(
        device: &Device,
        graph: &Graph,
        input: InputFormat,
        quiet: bool,
    ) -> Result<Self, Failure> {
        let start = Instant::now();
        let place = match device {
            Device::Gpu(gpu) => {
                let plan = Box::new(Plan::new(graph, &gpu.options(graph, input))?);
                let mut bars = Bars::new(quiet);
                let session = Session::with_progress(&gpu.context, &plan, &mut |progress| {
                    bars.show(progress);
                })?;
                gpu.store_pipelines();
                Place::Gpu {
                    session: Box::new(session),
                    plan,
                }
            }
            Device::Cpu => Place::Cpu(Box::new(CpuExecutor::new(graph)?)),
        };
        let pipelines_ms = milliseconds(start.elapsed());
        log::debug!("weights and pipelines are on the device after {pipelines_ms:.0} ms");
        Ok(Self {
            place,
            pipelines_ms,
        })
    }

    /// The engine that runs the graph. On the GPU, inputs must be in the plan's format.
    pub(crate) fn engine(&self) -> &dyn Engine {
        match &self.place {
            Place::Gpu { session, .. } => session.as_ref(),
            Place::Cpu(executor) => executor.as_ref(),
        }
    }

    /// The session and its plan, unless it runs on the CPU.
    pub(crate) fn gpu(&self) -> Option<(&Session, &Plan)> {
        match &self.place {
            Place::Gpu { session, plan } => Some((session, plan)),
            Place::Cpu(_) => None,
        }
    }
}
