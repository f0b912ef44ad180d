//! A graph on the chosen device: tensors or pictures in, the graph's outputs out.

use std::time::Instant;

use resnet_wgpu::Error;
use resnet_wgpu::engine::CpuExecutor;
use resnet_wgpu::engine::Engine;
use resnet_wgpu::gpu::Session;
use resnet_wgpu::graph::Graph;
use resnet_wgpu::internals::gpu::BuildProgress;
use resnet_wgpu::internals::kernels::Precision;
use resnet_wgpu::picture::{Batch, Preprocess};
use resnet_wgpu::plan::{InputFormat, Plan};
use resnet_wgpu::tensor::Tensor;

use crate::{Device, Network, Refused};

/// The largest number that half precision has.
pub const LARGEST_HALF: f32 = 65_504.0;

/// A graph that is ready to run.
#[derive(Debug)]
pub struct Runner {
    place: Place,
    /// What must hold for the first batch.
    unchecked: Option<Halves>,
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
                let plan = Box::new(Plan::new(graph, &gpu.options(graph, input)?)?);
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
            unchecked: Halves::of(device, graph),
            pipelines_ms,
        })
    }

    /// Runs on pictures. Halves must be able to hold what the network makes of the first batch.
    ///
    /// # Errors
    /// [`Refused::Overflow`], and those of [`Engine::answer`].
    pub fn answer(&mut self, batch: &Batch) -> Result<Vec<Tensor>, Refused> {
        if let Some(halves) = self.unchecked.take() {
            halves.check(batch)?;
        }
        Ok(self.engine().answer(batch)?)
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

/// A graph whose values are stored as halves on a GPU, where those beyond the largest half become it.
#[derive(Debug)]
struct Halves {
    graph: Graph,
    allowed: bool,
}

impl Halves {
    /// Those of a device that stores halves.
    fn of(device: &Device, graph: &Graph) -> Option<Self> {
        let Device::Gpu(gpu) = device else {
            return None;
        };
        (gpu.precision() == Precision::F16).then(|| Self {
            graph: graph.clone(),
            allowed: gpu.allows_overflow(),
        })
    }

    /// Looks for numbers that no half can hold among the weights, and among the values of these pictures
    /// as the CPU computes them.
    fn check(&self, batch: &Batch) -> Result<(), Refused> {
        let params = self.graph.params().iter();
        let weight = params
            .filter_map(|param| Some((param.name.clone(), largest(param.tensor.data())?)))
            .find(|(_, largest)| *largest > LARGEST_HALF);
        let found = match weight {
            None => {
                let executor = CpuExecutor::new(&self.graph)?;
                executor.first_beyond(&[batch.tensor()], LARGEST_HALF)?
            }
            weight => weight,
        };
        let Some((name, largest)) = found else {
            return Ok(());
        };
        if self.allowed {
            log::warn!(
                "'{name}' reaches {largest:.0}, and half precision ends at {LARGEST_HALF}: what is \
                 beyond is wrong"
            );
            return Ok(());
        }
        Err(Refused::Overflow {
            value: name,
            largest,
        })
    }
}

/// The largest magnitude.
fn largest(numbers: &[f32]) -> Option<f32> {
    numbers.iter().map(|x| x.abs()).max_by(f32::total_cmp)
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
            None => make(network, InputFormat::of(*rules))?,
        };
        Ok(self.0.insert(runner))
    }
}
