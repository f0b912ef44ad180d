//! Measures the candidates of every convolution of a network on a device
//! ([`crate::plan::candidates`]) and selects the winners.
//!
//! Takes a graph and a time budget, and returns [`Choices`] for
//! [`PlanOptions::choices`](crate::plan::PlanOptions::choices), which a [`TuneCache`] stores on
//! disk. Nothing here runs unless it is asked for.
//!
//! Distinct layers are measured in the order of the time that the network spends in them, each in a
//! graph of its own (`layer`), until three quarters of the budget are used; the rest keep their
//! defaults. The winners must then also make the whole network faster, or they are discarded:
//! kernels that are fast on their own can evict each other's data from a cache.

use std::collections::HashMap;
use std::time::Duration;

use crate::clock::Instant;
use crate::compare::{Difference, Tolerance};
use crate::error::Error;
use crate::gpu::{Context, Session};
use crate::graph::Graph;
use crate::kernels::Precision;
use crate::plan::{Choices, ConvShape, InputFormat, Plan, PlanOptions, candidates};
use crate::tensor::Tensor;

pub(crate) mod cache;
pub(crate) mod found;
mod layer;
mod samples;

pub use cache::TuneCache;
use found::{NetworkTimes, TunedLayer};
use samples::{Samples, time};

/// The share of the budget for single layers, in quarters; the rest is for whole networks.
const LAYERS_QUARTERS: u32 = 3;

/// Maximum number of runs of the default network to find out where the time is spent.
const PROFILE_RUNS: usize = 3;

/// Minimum and maximum number of runs of each of the two networks.
const NETWORK_RUNS: [usize; 2] = [7, 31];

/// The progress of [`tune`].
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum TuneProgress<'a> {
    /// A layer is about to be measured.
    Layer {
        /// The number of layers measured so far.
        done: usize,
        /// The number of distinct layers.
        total: usize,
        /// The layer's shape.
        shape: &'a ConvShape,
        /// The number of its candidates.
        candidates: usize,
    },
    /// The networks with the defaults and with the choices are about to be compared.
    Networks,
}

/// The result of [`tune`].
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Tuned {
    /// The distinct layers that were measured, in this order.
    #[doc(hidden)]
    pub layers: Vec<TunedLayer>,
    /// The choices that made the network faster; empty if none did.
    pub choices: Choices,
    /// Number of distinct layers for which the budget did not suffice.
    pub unmeasured: usize,
    /// The comparison of the two networks, if any layer's choice differs from its default.
    #[doc(hidden)]
    pub networks: Option<NetworkTimes>,
}

impl Tuned {
    /// The choices that won layer by layer.
    fn winners(layers: &[TunedLayer]) -> Choices {
        let other = layers.iter().filter(|l| l.choice != l.default);
        other.map(|layer| (layer.shape, layer.choice)).collect()
    }
}

/// Measures the candidates of each distinct convolution of a graph.
///
/// The options describe the device and how to plan; their choices are ignored.
///
/// # Errors
/// [`Error::Gpu`] if the device fails, and whatever [`Plan::new`] returns for the graph.
pub fn tune(
    context: &Context,
    graph: &Graph,
    options: &PlanOptions,
    budget: Duration,
    progress: &mut dyn FnMut(TuneProgress<'_>),
) -> Result<Tuned, Error> {
    let start = Instant::now();
    let defaults = options
        .clone()
        .input(InputFormat::Tensor)
        .choices(Choices::default());
    let plan = Plan::new(graph, &defaults)?;
    let network = Session::new(context, &plan)?;
    let shape = plan.input_shape();
    let input = samples::noise(&shape.dims(), 1.0);
    network.run(&input)?;

    let shapes = by_time(graph, &plan, &network)?;
    let total = shapes.len();
    let deadline = start + budget * LAYERS_QUARTERS / 4;
    let mut layers = Vec::with_capacity(total);
    for (shape, count) in shapes {
        if Instant::now() >= deadline {
            break;
        }
        progress(TuneProgress::Layer {
            done: layers.len(),
            total,
            shape: &shape,
            candidates: candidates(&shape, &defaults)?.len(),
        });
        match layer::measure(context, &shape, &defaults, deadline)? {
            Some(measured) => layers.push(measured.of(shape, count)),
            None => break,
        }
    }
    let mut tuned = Tuned {
        unmeasured: total - layers.len(),
        layers,
        choices: Choices::default(),
        networks: None,
    };
    let winners = Tuned::winners(&tuned.layers);
    if !winners.is_empty() {
        progress(TuneProgress::Networks);
        let options = defaults.choices(winners.clone());
        let other = Session::new(context, &Plan::new(graph, &options)?)?;
        let networks = [&network, &other];
        let compared = compare(networks, &input, options.precision, start + budget)?;
        if compared.faster {
            tuned.choices = winners;
        }
        tuned.networks = Some(compared);
    }
    Ok(tuned)
}

/// The distinct convolutions of a graph, each with the number of layers of its shape, in descending
/// order of the time that the network spends in them.
fn by_time(
    graph: &Graph,
    plan: &Plan,
    network: &Session,
) -> Result<Vec<(ConvShape, usize)>, Error> {
    let mut times = vec![f64::INFINITY; plan.steps().len()];
    for _ in 0..PROFILE_RUNS {
        for (best, time) in times.iter_mut().zip(network.run_step_timed()?) {
            *best = best.min(time);
        }
    }
    let mut layers: HashMap<ConvShape, (usize, f64)> = HashMap::new();
    for node in graph.nodes() {
        let Some(shape) = ConvShape::of(graph, node) else {
            continue;
        };
        let steps = plan.steps().iter().zip(&times);
        let own: Vec<f64> = steps
            .filter(|(step, _)| step.node == node.name)
            .map(|(_, time)| *time)
            .collect();
        if own.is_empty() {
            // It is computed with another layer.
            continue;
        }
        let layer = layers.entry(shape).or_default();
        layer.0 += 1;
        layer.1 += own.iter().sum::<f64>();
    }
    let mut layers: Vec<_> = layers.into_iter().collect();
    layers.sort_by(|(_, (_, a)), (_, (_, b))| b.total_cmp(a));
    Ok(layers
        .into_iter()
        .map(|(shape, (count, _))| (shape, count))
        .collect())
}

/// Runs both networks in turns until the deadline, but at least the minimum number of times.
fn compare(
    [default, tuned]: [&Session; 2],
    input: &Tensor,
    precision: Precision,
    deadline: Instant,
) -> Result<NetworkTimes, Error> {
    let want = default.run(input)?;
    let got = tuned.run(input)?;
    let agree = want.len() == got.len()
        && want
            .iter()
            .zip(&got)
            .map(|(want, got)| agrees(want, got, precision))
            .collect::<Result<Vec<bool>, Error>>()?
            .into_iter()
            .all(|agrees| agrees);
    let [least, most] = NETWORK_RUNS;
    let mut samples = [Samples::default(), Samples::default()];
    for run in 0..most {
        if run >= least && Instant::now() >= deadline {
            break;
        }
        for (session, samples) in [default, tuned].into_iter().zip(&mut samples) {
            samples.push(time(|| session.run_uploaded().map(drop))?);
        }
    }
    let [default, tuned] = samples;
    let better = |q: f64| tuned.quantile(q) < default.quantile(q);
    Ok(NetworkTimes {
        default_ms: default.quantile(0.5),
        tuned_ms: tuned.quantile(0.5),
        faster: agree && better(0.5) && better(0.25),
    })
}

/// Maximum difference from the default's results, relative to the largest magnitude: Winograd's
/// transforms lose four bits of 24, or one of the eleven of half precision.
const fn gate(precision: Precision) -> f32 {
    match precision {
        Precision::F32 => 1e-4,
        Precision::F16 => 2e-2,
    }
}

/// Whether results agree up to rounding.
fn agrees(want: &Tensor, got: &Tensor, precision: Precision) -> Result<bool, Error> {
    let largest = want.data().iter().fold(0.0f32, |a, b| a.max(b.abs()));
    let tolerance = Tolerance {
        atol: largest * gate(precision),
        rtol: 0.0,
    };
    Ok(Difference::between(want, got, tolerance)?.is_within())
}
