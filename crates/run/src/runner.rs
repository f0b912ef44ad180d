//! A graph on the chosen device: tensors or pictures in, the graph's outputs out.

use std::time::Instant;

use resnet_wgpu::Error;
use resnet_wgpu::cpu::CpuExecutor;
use resnet_wgpu::engine::Engine;
use resnet_wgpu::gpu::{BuildProgress, Session};
use resnet_wgpu::graph::Graph;
use resnet_wgpu::plan::{InputFormat, Plan};

use crate::Device;

/// A graph that is ready to run.
#[derive(Debug)]
pub struct Runner {
    place: Place,
    /// The time taken to prepare weights and pipelines on the device.
    pub pipelines_ms: f64,
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
    /// Plans the graph and prepares everything needed to run it.
    ///
    /// # Errors
    /// Those of plans and of the device.
    pub fn new(
        device: &Device,
        graph: &Graph,
        input: InputFormat,
        progress: &mut dyn FnMut(BuildProgress),
    ) -> Result<Self, Error> {
        let start = Instant::now();
        let place = match device {
            Device::Gpu(gpu) => {
                let plan = Box::new(Plan::new(graph, &gpu.options(graph, input))?);
                let session = Session::with_progress(&gpu.context, &plan, progress)?;
                gpu.store_pipelines();
                Place::Gpu {
                    session: Box::new(session),
                    plan,
                }
            }
            Device::Cpu => Place::Cpu(Box::new(CpuExecutor::new(graph)?)),
        };
        let pipelines_ms = start.elapsed().as_secs_f64() * 1e3;
        log::debug!("weights and pipelines are on the device after {pipelines_ms:.0} ms");
        Ok(Self {
            place,
            pipelines_ms,
        })
    }

    /// The engine it runs on. On the GPU the input must be in the plan's format.
    pub fn engine(&self) -> &dyn Engine {
        match &self.place {
            Place::Gpu { session, .. } => session.as_ref(),
            Place::Cpu(executor) => executor.as_ref(),
        }
    }

    /// The session and its plan, unless it runs on the CPU.
    pub fn gpu(&self) -> Option<(&Session, &Plan)> {
        match &self.place {
            Place::Gpu { session, plan } => Some((session, plan)),
            Place::Cpu(_) => None,
        }
    }
}
