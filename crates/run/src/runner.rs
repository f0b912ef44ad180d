//! A graph on the chosen device: tensors or pictures in, the graph's outputs out.

use std::sync::{Arc, Mutex, OnceLock, PoisonError};
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

/// A graph that is ready to run, also for several threads.
#[derive(Debug)]
pub struct Runner {
    graph: Graph,
    input: InputFormat,
    place: Place,
    /// The same without Winograd's algorithm, where halves do not hold what it computes.
    plain: OnceLock<Place>,
    /// The CPU, where the GPU cannot go on.
    cpu: OnceLock<Place>,
    /// Whether what halves hold has been looked at, or need not be.
    fits: Mutex<bool>,
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

    /// The same with a check, and with another plan where something is wrong.
    fn on_checked_gpu(
        gpu: &Arc<Gpu>,
        graph: &Graph,
        input: InputFormat,
        progress: &mut dyn FnMut(BuildProgress),
    ) -> Result<Self, Error> {
        let turn = gpu.turn();
        let (mut plan, mut check) = gpu.plan_first(graph, input)?;
        if check.is_none() {
            drop(turn);
            return Self::on_gpu(gpu, plan, progress);
        }
        loop {
            let place = Self::on_gpu(gpu, plan, progress)?;
            let (
                Some(of_plan),
                Self::Gpu {
                    session,
                    plan: made,
                    ..
                },
            ) = (check, &place)
            else {
                return Ok(place);
            };
            let Some((of_plan, difference)) = gpu.compare(of_plan, session, made)? else {
                return Ok(place);
            };
            match gpu.plan_without_wrong(graph, made, of_plan, difference)? {
                Some(other) => (plan, check) = (other.0, Some(other.1)),
                None => return Ok(place),
            }
        }
    }

    fn on_cpu(graph: &Graph) -> Result<Self, Error> {
        Ok(Self::Cpu(Box::new(CpuExecutor::new(graph)?)))
    }

    fn engine(&self) -> &dyn Engine {
        match self {
            Self::Gpu { session, .. } => session.as_ref(),
            Self::Cpu(executor) => executor.as_ref(),
        }
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
            Device::Gpu(gpu) => Place::on_checked_gpu(gpu, graph, input, progress)?,
            Device::Cpu => Place::on_cpu(graph)?,
        };
        let pipelines_ms = start.elapsed().as_secs_f64() * 1e3;
        log::debug!("weights and pipelines are on the device after {pipelines_ms:.0} ms");
        Ok(Self {
            graph: graph.clone(),
            input,
            place,
            plain: OnceLock::new(),
            cpu: OnceLock::new(),
            fits: Mutex::new(device.precision() == Precision::F32),
            pipelines_ms,
        })
    }

    /// Runs on pictures, and checks that the outputs make sense. Halves must be able to hold what the
    /// network makes of the first ones.
    ///
    /// # Errors
    /// [`Refused::Overflow`], and those of [`Engine::answer`].
    pub fn answer(&self, batch: &Batch) -> Result<Vec<Tensor>, Refused> {
        self.go(|| batch.tensor(), |engine| engine.answer(batch))
    }

    /// Runs on a tensor, under the same conditions. On the GPU the plan must take tensors.
    ///
    /// # Errors
    /// [`Refused::Overflow`], and those of [`Engine::run`].
    pub fn run(&self, tensor: &Tensor) -> Result<Vec<Tensor>, Refused> {
        self.go(|| tensor.clone(), |engine| engine.run(tensor))
    }

    /// Runs, and goes on with the CPU where the GPU is lost or full.
    fn go(
        &self,
        input: impl Fn() -> Tensor,
        run: impl Fn(&dyn Engine) -> Result<Vec<Tensor>, Error>,
    ) -> Result<Vec<Tensor>, Refused> {
        let checked = self.fit(input);
        let place = self.here();
        let result = checked.and_then(|()| Ok(run(place.engine())?));
        match (result, place) {
            (Err(Refused::Library(error)), Place::Gpu { gpu, .. }) if gpu.leaves(&error) => {
                Ok(run(self.on_cpu()?.engine())?)
            }
            (result, _) => result,
        }
    }

    /// Where it runs by now.
    fn here(&self) -> &Place {
        let moved = self.cpu.get().or_else(|| self.plain.get());
        moved.unwrap_or(&self.place)
    }

    /// Moves to the CPU, unless another thread has.
    fn on_cpu(&self) -> Result<&Place, Error> {
        let mut fits = self.fits.lock().unwrap_or_else(PoisonError::into_inner);
        *fits = true;
        match self.cpu.get() {
            Some(place) => Ok(place),
            None => {
                let place = Place::on_cpu(&self.graph)?;
                Ok(self.cpu.get_or_init(|| place))
            }
        }
    }

    /// Looks, the first time, whether halves hold what the network makes of this input. Where only Winograd's
    /// algorithm is the reason that they do not, and nobody asked for it, it goes on without.
    fn fit(&self, input: impl Fn() -> Tensor) -> Result<(), Refused> {
        let mut fits = self.fits.lock().unwrap_or_else(PoisonError::into_inner);
        let Place::Gpu { gpu, plan, .. } = &self.place else {
            return Ok(());
        };
        if *fits {
            return Ok(());
        }
        let input = input();
        let found = halves::beyond(&self.graph, &input)?;
        let beyond = match found.beyond {
            None => found.beyond_in_winograd(&self.graph, plan, &input)?,
            Some(_) => None,
        };
        if let Some((name, largest)) = &beyond
            && gpu.winograd() == Winograd::Auto
        {
            log::debug!("{name} reaches {largest:.0}: planning without it");
            let plan = gpu.plan_without_winograd(&self.graph, self.input)?;
            let place = Place::on_gpu(gpu, plan, &mut |_| ())?;
            self.plain.get_or_init(|| place);
        } else if let Some((value, largest)) = found.beyond.or(beyond) {
            if !gpu.allows_overflow() {
                return Err(Refused::Overflow { value, largest });
            }
            log::warn!(
                "'{value}' reaches {largest:.0}, and half precision ends at {LARGEST_HALF}: what is \
                 beyond is wrong"
            );
        }
        *fits = true;
        Ok(())
    }

    /// The engine it runs on, which checks nothing and does not go on elsewhere. On the GPU the input must
    /// be in the plan's format.
    pub fn engine(&self) -> &dyn Engine {
        self.here().engine()
    }

    /// The session and its plan, unless it runs on the CPU.
    pub fn gpu(&self) -> Option<(&Session, &Plan)> {
        match self.here() {
            Place::Gpu { session, plan, .. } => Some((session, plan)),
            Place::Cpu(_) => None,
        }
    }
}

/// The runner of a network that may run every picture in a size of its own.
#[derive(Debug, Default)]
pub struct Fitted(Option<Arc<Runner>>);

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
    ) -> Result<Arc<Runner>, E> {
        if network.fit(rules)? {
            self.0 = None;
        }
        let runner = match self.0.take() {
            Some(runner) => runner,
            None => Arc::new(make(network, InputFormat::of(*rules))?),
        };
        Ok(Arc::clone(self.0.insert(runner)))
    }
}

#[cfg(test)]
#[path = "../tests/unit/runner.rs"]
mod tests;
