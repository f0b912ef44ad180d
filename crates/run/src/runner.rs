//! A graph on the chosen device: tensors or pictures in, the graph's outputs out.

use std::sync::Arc;
use std::time::Instant;

use resnet_wgpu::Error;
use resnet_wgpu::engine::CpuExecutor;
use resnet_wgpu::engine::Engine;
use resnet_wgpu::gpu::Session;
use resnet_wgpu::graph::Graph;
use resnet_wgpu::internals::gpu::BuildProgress;
use resnet_wgpu::internals::kernels::Precision;
use resnet_wgpu::picture::{Batch, Preprocess};
use resnet_wgpu::plan::{InputFormat, Plan, Winograd};
use resnet_wgpu::tensor::Tensor;

use crate::device::Gpu;
use crate::halves::{self, LARGEST_HALF};
use crate::{Device, Network, Refused};

/// A graph that is ready to run.
#[derive(Debug)]
pub struct Runner {
    graph: Graph,
    input: InputFormat,
    place: Place,
    /// Whether what halves hold has been looked at, or need not be.
    fits: bool,
    /// The time taken to prepare weights and pipelines on the device.
    pub pipelines_ms: f64,
}

#[derive(Debug)]
enum Place {
    Gpu {
        gpu: Arc<Gpu>,
        session: Box<Session>,
        plan: Box<Plan>,
    },
    Cpu(Box<CpuExecutor>),
}

impl Place {
    fn on_gpu(
        gpu: &Arc<Gpu>,
        plan: Plan,
        progress: &mut dyn FnMut(BuildProgress),
    ) -> Result<Self, Error> {
        let session = Session::with_progress(&gpu.context, &plan, progress)?;
        gpu.store_pipelines();
        Ok(Self::Gpu {
            gpu: Arc::clone(gpu),
            session: Box::new(session),
            plan: Box::new(plan),
        })
    }

    fn on_cpu(graph: &Graph) -> Result<Self, Error> {
        Ok(Self::Cpu(Box::new(CpuExecutor::new(graph)?)))
    }
}

impl Runner {
    /// Plans the graph and prepares everything needed to run it: on the CPU where the GPU is lost, full or
    /// wrong, now or later, which a warning says.
    ///
    /// # Errors
    /// Those of plans and of the device.
    pub fn new(
        device: &Device,
        graph: &Graph,
        input: InputFormat,
        progress: &mut dyn FnMut(BuildProgress),
    ) -> Result<Self, Error> {
        let Device::Gpu(gpu) = device else {
            return Self::on(device, graph, input, progress);
        };
        if gpu.is_lost() {
            return Self::on(&Device::Cpu, graph, input, progress);
        }
        let made = Self::on(device, graph, input, progress);
        match made {
            Err(error) if gpu.leaves(&error) => Self::on(&Device::Cpu, graph, input, progress),
            made => made,
        }
    }

    /// The same on this device and no other.
    ///
    /// # Errors
    /// Those of plans and of the device.
    pub fn on(
        device: &Device,
        graph: &Graph,
        input: InputFormat,
        progress: &mut dyn FnMut(BuildProgress),
    ) -> Result<Self, Error> {
        let start = Instant::now();
        let place = match device {
            Device::Gpu(gpu) => Place::on_gpu(gpu, gpu.plan(graph, input)?, progress)?,
            Device::Cpu => Place::on_cpu(graph)?,
        };
        let pipelines_ms = start.elapsed().as_secs_f64() * 1e3;
        log::debug!("weights and pipelines are on the device after {pipelines_ms:.0} ms");
        Ok(Self {
            graph: graph.clone(),
            input,
            place,
            fits: device.precision() == Precision::F32,
            pipelines_ms,
        })
    }

    /// Runs on pictures, and checks that the outputs make sense. Halves must be able to hold what the
    /// network makes of the first ones.
    ///
    /// # Errors
    /// [`Refused::Overflow`], and those of [`Engine::answer`].
    pub fn answer(&mut self, batch: &Batch) -> Result<Vec<Tensor>, Refused> {
        self.go(|| batch.tensor(), |engine| engine.answer(batch))
    }

    /// Runs on a tensor, under the same conditions. On the GPU the plan must take tensors.
    ///
    /// # Errors
    /// [`Refused::Overflow`], and those of [`Engine::run`].
    pub fn run(&mut self, tensor: &Tensor) -> Result<Vec<Tensor>, Refused> {
        self.go(|| tensor.clone(), |engine| engine.run(tensor))
    }

    /// Runs, and goes on with the CPU where the GPU is lost or full.
    fn go(
        &mut self,
        input: impl Fn() -> Tensor,
        run: impl Fn(&dyn Engine) -> Result<Vec<Tensor>, Error>,
    ) -> Result<Vec<Tensor>, Refused> {
        let checked = if self.fits {
            Ok(())
        } else {
            self.fit(&input())
        };
        let result = checked.and_then(|()| Ok(run(self.engine())?));
        match (result, &self.place) {
            (Err(Refused::Library(error)), Place::Gpu { gpu, .. }) if gpu.leaves(&error) => {
                self.place = Place::on_cpu(&self.graph)?;
                self.fits = true;
                Ok(run(self.engine())?)
            }
            (result, _) => result,
        }
    }

    /// Looks whether halves hold what the network makes of this input. Where only Winograd's algorithm
    /// is the reason that they do not, and nobody asked for it, it goes on without.
    fn fit(&mut self, input: &Tensor) -> Result<(), Refused> {
        let Place::Gpu { gpu, plan, .. } = &self.place else {
            return Ok(());
        };
        let found = halves::beyond(&self.graph, input)?;
        let beyond = match found.beyond {
            None => found.beyond_in_winograd(&self.graph, plan, input)?,
            Some(_) => None,
        };
        if let Some((name, largest)) = &beyond
            && gpu.winograd() == Winograd::Auto
        {
            log::debug!("{name} reaches {largest:.0}: planning without it");
            let plan = gpu.plan_without_winograd(&self.graph, self.input)?;
            self.place = Place::on_gpu(&Arc::clone(gpu), plan, &mut |_| ())?;
            self.fits = true;
            return Ok(());
        }
        if let Some((value, largest)) = found.beyond.or(beyond) {
            if !gpu.allows_overflow() {
                return Err(Refused::Overflow { value, largest });
            }
            log::warn!(
                "'{value}' reaches {largest:.0}, and half precision ends at {LARGEST_HALF}: what is \
                 beyond is wrong"
            );
        }
        self.fits = true;
        Ok(())
    }

    /// The engine it runs on, which checks nothing and does not go on elsewhere. On the GPU the input must
    /// be in the plan's format.
    pub fn engine(&self) -> &dyn Engine {
        match &self.place {
            Place::Gpu { session, .. } => session.as_ref(),
            Place::Cpu(executor) => executor.as_ref(),
        }
    }

    /// The session and its plan, unless it runs on the CPU.
    pub fn gpu(&self) -> Option<(&Session, &Plan)> {
        match &self.place {
            Place::Gpu { session, plan, .. } => Some((session, plan)),
            Place::Cpu(_) => None,
        }
    }
}

/// The runner of a network that may run every picture in a size of its own.
#[derive(Debug, Default)]
pub struct Fitted(Option<Runner>);

impl Fitted {
    /// The runner for pictures that were prepared by these rules, made anew where they are not those of
    /// the last ones.
    ///
    /// # Errors
    /// Those of `make`, and of models for an impossible size.
    pub fn runner<E: From<Refused>>(
        &mut self,
        network: &mut Network,
        rules: &Preprocess,
        make: impl FnOnce(&Network, InputFormat) -> Result<Runner, E>,
    ) -> Result<&mut Runner, E> {
        if network.fit(rules)? {
            self.0 = None;
        }
        let runner = match self.0.take() {
            Some(runner) => runner,
            None => make(network, InputFormat::Rgba8(*rules))?,
        };
        Ok(self.0.insert(runner))
    }
}

#[cfg(test)]
#[path = "../tests/unit/runner.rs"]
mod tests;
