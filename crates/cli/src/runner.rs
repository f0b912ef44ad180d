//! A graph on the device that was chosen: tensors or pictures in, the graph's outputs out.

use std::time::Instant;

use resnet_wgpu::cpu::CpuExecutor;
use resnet_wgpu::gpu::Session;
use resnet_wgpu::graph::Graph;
use resnet_wgpu::picture::Batch;
use resnet_wgpu::plan::{InputFormat, Plan};
use resnet_wgpu::tensor::Tensor;

use crate::device::Device;
use crate::failure::Failure;
use crate::progress::Bars;
use crate::stats::milliseconds;

/// A graph that is ready to run.
#[derive(Debug)]
pub(crate) struct Runner {
    engine: Engine,
    /// Time for weights and pipelines on the device.
    pub(crate) pipelines_ms: f64,
}

#[derive(Debug)]
enum Engine {
    Gpu {
        session: Box<Session>,
        plan: Box<Plan>,
    },
    Cpu(Box<CpuExecutor>),
}

impl Runner {
    /// Plans the graph and makes everything that running needs.
    pub(crate) fn new(
        device: &Device,
        graph: &Graph,
        input: InputFormat,
        quiet: bool,
    ) -> Result<Self, Failure> {
        let start = Instant::now();
        let engine = match device {
            Device::Gpu(gpu) => {
                let plan = Box::new(Plan::new(graph, &gpu.options(graph, input))?);
                let mut bars = Bars::new(quiet);
                let session =
                    Session::new(&gpu.context, &plan, &mut |progress| bars.show(progress))?;
                gpu.store_pipelines();
                Engine::Gpu {
                    session: Box::new(session),
                    plan,
                }
            }
            Device::Cpu => Engine::Cpu(Box::new(CpuExecutor::new(graph)?)),
        };
        let pipelines_ms = milliseconds(start.elapsed());
        log::debug!("weights and pipelines are on the device after {pipelines_ms:.0} ms");
        Ok(Self {
            engine,
            pipelines_ms,
        })
    }

    /// Runs on pictures. On the GPU the plan must be one for pixels.
    pub(crate) fn run_pictures(&self, batch: &Batch) -> Result<Vec<Tensor>, Failure> {
        Ok(match &self.engine {
            Engine::Gpu { session, .. } => session.run_pixels(batch.rgba())?,
            Engine::Cpu(executor) => executor.run(&[batch.tensor()])?,
        })
    }

    /// Runs on a tensor. On the GPU the plan must be one for tensors.
    pub(crate) fn run(&self, input: &Tensor) -> Result<Vec<Tensor>, Failure> {
        Ok(match &self.engine {
            Engine::Gpu { session, .. } => session.run(input)?,
            Engine::Cpu(executor) => executor.run(std::slice::from_ref(input))?,
        })
    }

    /// The session and its plan, unless it runs on the CPU.
    pub(crate) fn gpu(&self) -> Option<(&Session, &Plan)> {
        match &self.engine {
            Engine::Gpu { session, plan } => Some((session, plan)),
            Engine::Cpu(_) => None,
        }
    }
}
