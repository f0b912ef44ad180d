//! Whether a device computes what the kernels say: every kernel that a plan uses, on small cases, against
//! the reference.
//!
//! Drivers compile shaders wrongly now and then, and nothing says so: the answer is merely another one. A
//! [`Check`] goes through the kinds of layers of a graph (`cases`), case by case, so that a host can spread
//! it over frames. Where a kernel is wrong it names it ([`WrongKernel`]) and plans with the next one, which
//! is then checked in turn. `whole` compares the network instead, `cache` keeps what was found.

pub(crate) mod cache;
pub(crate) mod cases;
mod whole;

use std::collections::{BTreeSet, HashSet};
use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::mem;

use serde::{Deserialize, Serialize};

use crate::error::Error;
use crate::gpu::{Context, Executor, Input, Output, Pipelines, Readback};
use crate::graph::Graph;
use crate::internals::noise::Noise;
use crate::kernels::Precision;
use crate::plan::{InputFormat, Plan, PlanOptions};
use crate::reference;
use crate::tensor::Tensor;
use cases::{Case, Channels, cases, pixels};

/// Kinds that a file says are right and that are checked all the same, chosen by chance: a file may say
/// anything.
const SAMPLES: usize = 1;

/// A kernel, or a way to compute a convolution, that is wrong on a device.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct WrongKernel {
    /// What is not used any more.
    pub name: String,
    /// The first layer that needed it.
    pub layer: String,
    /// The largest difference, relative to the largest number expected; null for a result that is not
    /// finite.
    pub difference: Option<f32>,
}

impl fmt::Display for WrongKernel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, layer, .. } = self;
        write!(f, "the kernel '{name}' computes wrongly on this device (")?;
        match self.difference {
            Some(difference) => write!(f, "by {difference:.0e} in a layer like '{layer}')"),
            None => write!(f, "no numbers in a layer like '{layer}')"),
        }
    }
}

/// A check of the kernels of a graph's plan.
///
/// ```no_run
/// # use resnet_wgpu::{Error, check::Check, gpu::Pipelines, graph::Graph, plan::{Plan, PlanOptions}, wgpu};
/// # fn host(device: &wgpu::Device, queue: &wgpu::Queue, pipelines: &Pipelines, graph: &Graph,
/// # options: &PlanOptions) -> Result<(), Error> {
/// let mut check = Check::new(graph, options)?;
/// // In every frame, until it is done; the host polls its device as usual.
/// if check.advance(device, queue, pipelines)? {
///     check.wrong().iter().for_each(|kernel| eprintln!("{kernel}"));
///     let plan = Plan::new(graph, check.options())?;
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Check {
    graph: Graph,
    options: PlanOptions,
    waiting: Vec<Case>,
    /// Cases of kinds that somebody says are right.
    believed: Vec<Case>,
    running: Option<Running>,
    /// Kinds that are among the cases.
    known: HashSet<String>,
    right: BTreeSet<String>,
    /// The plan, and the plans of networks that agree with the CPU as a whole.
    network: String,
    networks: BTreeSet<String>,
    /// Kinds that were found right earlier.
    claimed: BTreeSet<String>,
    /// Kernels that some case has shown to be right.
    right_kernels: HashSet<String>,
    failed: Vec<Failed>,
    wrong: Vec<WrongKernel>,
}

/// A case on the device.
#[derive(Debug)]
struct Running {
    case: Case,
    kernels: Vec<&'static str>,
    readback: Readback,
    want: Tensor,
}

/// A case whose result is wrong.
#[derive(Debug)]
struct Failed {
    case: Case,
    kernels: Vec<&'static str>,
    difference: f32,
}

impl Check {
    /// Lists the cases; nothing runs yet.
    ///
    /// # Errors
    /// As [`Plan::new`].
    pub fn new(graph: &Graph, options: &PlanOptions) -> Result<Self, Error> {
        Self::of(graph, options, &Plan::new(graph, options)?)
    }

    /// The same where there is a plan by these options already.
    ///
    /// # Errors
    /// As [`Self::new`].
    #[doc(hidden)]
    pub fn of(graph: &Graph, options: &PlanOptions, plan: &Plan) -> Result<Self, Error> {
        let mut check = Self {
            graph: graph.clone(),
            options: options.clone(),
            waiting: Vec::new(),
            believed: Vec::new(),
            running: None,
            known: HashSet::new(),
            right: BTreeSet::new(),
            network: whole::identity(plan),
            networks: BTreeSet::new(),
            claimed: BTreeSet::new(),
            right_kernels: HashSet::new(),
            failed: Vec::new(),
            wrong: Vec::new(),
        };
        check.add_cases(plan)?;
        Ok(check)
    }

    /// Takes the next step: submits a case, or looks whether the device is done with it. Returns whether
    /// everything is checked. It never waits: the host polls its device.
    ///
    /// # Errors
    /// Those of the device, and [`Error::WrongKernel`] where a wrong kernel cannot be replaced.
    pub fn advance(
        &mut self,
        device: &wgpu::Device,
        queue: &wgpu::Queue,
        pipelines: &Pipelines,
    ) -> Result<bool, Error> {
        if let Some(running) = self.running.take() {
            match running.readback.try_read()? {
                Some((_, got)) => self.judge(running, &got)?,
                None => self.running = Some(running),
            }
        } else if let Some(case) = self.waiting.pop() {
            self.running = Some(case.start(&self.options, (device, queue, pipelines))?);
        } else if !self.failed.is_empty() {
            self.replace()?;
        } else {
            return Ok(true);
        }
        Ok(false)
    }

    /// The kernels that were found to be wrong so far.
    pub fn wrong(&self) -> &[WrongKernel] {
        &self.wrong
    }

    /// The options to plan with, which leave out the kernels that are wrong.
    pub fn options(&self) -> &PlanOptions {
        &self.options
    }

    /// Adds the cases of the plan that are new.
    fn add_cases(&mut self, plan: &Plan) -> Result<(), Error> {
        let cases = cases(&self.graph, plan, &self.options, Channels::Few)?;
        // The last one is taken first.
        let new = cases.into_iter().rev();
        let new = new.filter(|case| self.known.insert(case.kind.clone()));
        self.waiting.extend(new);
        Ok(())
    }

    fn judge(&mut self, running: Running, got: &[Tensor]) -> Result<(), Error> {
        let Running {
            case,
            kernels,
            want,
            ..
        } = running;
        let [got] = got else {
            return Err(Error::UnknownValue {
                name: case.layer,
                known: String::new(),
            });
        };
        let most = most(self.options.precision);
        if !want.data().iter().all(|x| x.abs() < most) {
            // Parameters that overflow in any kernel say nothing about this one.
            return Ok(());
        }
        let difference = difference(&want, got);
        if difference <= allowed(self.options.precision) {
            self.right_kernels
                .extend(kernels.into_iter().map(str::to_owned));
            self.right.insert(case.kind);
            return Ok(());
        }
        if self.claimed.contains(&case.kind) {
            // Whoever said that it was right does not know the others, either.
            self.doubt();
        }
        self.failed.push(Failed {
            case,
            kernels,
            difference,
        });
        Ok(())
    }

    /// Names what is wrong, and plans without it.
    fn replace(&mut self) -> Result<(), Error> {
        let failed = mem::take(&mut self.failed);
        // Conversions come with every case: one that several were wrong with and none was right is at fault.
        let conversion = failed
            .iter()
            .flat_map(|failed| &failed.kernels)
            .copied()
            .find(|kernel| {
                let with = failed.iter().filter(|f| f.kernels.contains(kernel));
                cases::is_conversion(kernel)
                    && !self.right_kernels.contains(*kernel)
                    && with.count() > 1
            });
        let mut named = Vec::new();
        for failed in failed {
            let Failed {
                case,
                kernels,
                difference,
            } = failed;
            let conversion = conversion.filter(|kernel| kernels.contains(kernel));
            let name = match (conversion, case.choice) {
                (Some(conversion), _) => conversion.to_owned(),
                (None, Some((_, candidate))) => candidate.to_string(),
                (None, None) => {
                    let mut own = kernels.iter().filter(|name| !cases::is_conversion(name));
                    own.next_back().copied().unwrap_or_default().to_owned()
                }
            };
            named.push(WrongKernel {
                name,
                layer: case.layer,
                difference: difference.is_finite().then_some(difference),
            });
        }
        let is_new =
            |kernel: &WrongKernel| self.wrong.iter().all(|known| known.name != kernel.name);
        named.retain(is_new);
        named.dedup_by(|a, b| a.name == b.name);
        let names = named.iter().map(|kernel| kernel.name.clone());
        self.options = self.options.clone().without(names);
        self.wrong.extend(named);
        self.add_cases(&Plan::new(&self.graph, &self.options)?)
    }
}

#[doc(hidden)]
impl Check {
    /// Believes what was found earlier: that kernels are wrong at once, that they are right by samples.
    ///
    /// # Errors
    /// As [`Self::new`].
    fn believe(
        &mut self,
        right: BTreeSet<String>,
        wrong: &[WrongKernel],
        samples: usize,
    ) -> Result<(), Error> {
        if !wrong.is_empty() {
            let names = wrong.iter().map(|kernel| kernel.name.clone());
            self.options = self.options.clone().without(names);
            self.wrong.extend_from_slice(wrong);
            self.waiting.clear();
            self.known.clear();
            self.add_cases(&Plan::new(&self.graph, &self.options)?)?;
        }
        let (mut believed, new): (Vec<Case>, Vec<Case>) = mem::take(&mut self.waiting)
            .into_iter()
            .partition(|case| right.contains(&case.kind));
        self.waiting = new;
        self.claimed = right;
        for chance in 0..samples.min(believed.len()) {
            let random = RandomState::new().hash_one(chance);
            let place = usize::try_from(random % believed.len() as u64).unwrap_or(0);
            self.waiting.push(believed.swap_remove(place));
        }
        self.believed = believed;
        Ok(())
    }

    /// Believes what another check has found on the same device in the same process.
    ///
    /// # Errors
    /// As [`Self::new`].
    pub fn follow(&mut self, other: &Self) -> Result<(), Error> {
        self.networks.extend(other.networks.iter().cloned());
        self.believe(other.right(), &other.wrong, 0)
    }

    /// Checks what it has believed so far.
    pub fn doubt(&mut self) {
        self.claimed.clear();
        self.networks.clear();
        self.waiting.append(&mut self.believed);
    }

    /// Adds what another check has found on the same device. What is right by one that has not found every fault of
    /// the other is forgotten.
    pub fn join(&mut self, other: &Self) {
        let names = |kernels: &[WrongKernel]| -> BTreeSet<String> {
            kernels.iter().map(|kernel| kernel.name.clone()).collect()
        };
        let (own, others) = (names(&self.wrong), names(&other.wrong));
        if !others.is_subset(&own) {
            self.right.clear();
            self.claimed.clear();
            self.networks.clear();
        }
        if own.is_subset(&others) {
            self.right.extend(other.right());
            self.networks.extend(other.networks.iter().cloned());
        }
        let new = |kernel: &&WrongKernel| !own.contains(&kernel.name);
        self.wrong.extend(other.wrong.iter().filter(new).cloned());
    }

    /// The kinds of layers that are right.
    pub fn right(&self) -> BTreeSet<String> {
        self.right.union(&self.claimed).cloned().collect()
    }

    /// The number of cases that have not run yet.
    pub fn left(&self) -> usize {
        self.waiting.len()
    }

    /// Checks everything and waits for it.
    ///
    /// # Errors
    /// As [`Self::advance`].
    pub fn run(&mut self, context: &Context) -> Result<(), Error> {
        let Context {
            device,
            queue,
            pipelines,
            ..
        } = context;
        while !self.advance(device, queue, pipelines)? {
            if self.running.is_some() {
                context.wait_idle()?;
            }
        }
        Ok(())
    }
}

impl Case {
    fn start(
        self,
        options: &PlanOptions,
        (device, queue, pipelines): (&wgpu::Device, &wgpu::Queue, &Pipelines),
    ) -> Result<Running, Error> {
        let plan = Plan::new(&self.graph, &self.options(options))?;
        let executor = Executor::with_pipelines(device, queue, &plan, pipelines, &mut |_| ())?;
        let shape = plan.input_shape();
        let x = if let InputFormat::Rgba8(rules) = self.format {
            let rgba = pixels(shape);
            executor.write_pixels(queue, &rgba)?;
            reference::image_to_tensor(&rgba, shape, &rules.normalization())?
        } else {
            let x = Noise::new(1).tensor(&shape.dims());
            executor.write_tensor(queue, &x)?;
            x
        };
        let readback = Readback::for_waiting(device, &executor)?;
        let mut encoder = device.create_command_encoder(&wgpu::CommandEncoderDescriptor {
            label: Some("resnet-wgpu check"),
        });
        executor.record(&mut encoder, &Input::uploaded(), &Output::kept())?;
        readback.record(&mut encoder)?;
        queue.submit([encoder.finish()]);
        let want = self.expected(&x)?;
        Ok(Running {
            kernels: plan.steps().iter().map(|s| s.launch.kernel.name).collect(),
            case: self,
            readback,
            want,
        })
    }
}

/// The largest difference, relative to the largest number expected; infinite for what is no number.
fn difference(want: &Tensor, got: &Tensor) -> f32 {
    let largest = want.data().iter().fold(0.0f32, |a, b| a.max(b.abs()));
    let pairs = want.data().iter().zip(got.data());
    let differences = pairs.map(|(want, got)| (want - got).abs());
    // `max` would pass over a NaN.
    let worst = differences.fold(0.0f32, |a, b| if a >= b { a } else { b });
    if want.dims() != got.dims() || !worst.is_finite() {
        return f32::INFINITY;
    }
    worst / if largest > 0.0 { largest } else { 1.0 }
}

/// The largest number that a case may lead to: partial sums can be larger, and must not overflow either.
const fn most(precision: Precision) -> f32 {
    match precision {
        Precision::F32 => 1e34,
        Precision::F16 => 16e3,
    }
}

/// As for tuning: Winograd's transforms lose four bits of 24, or one of the eleven of half precision.
const fn allowed(precision: Precision) -> f32 {
    match precision {
        Precision::F32 => 1e-4,
        Precision::F16 => 2e-2,
    }
}
