//! Measures the candidates of every convolution of a network on a device ([`crate::plan::candidates`]) and
//! keeps what wins.
//!
//! In goes a graph and a budget of time, out come [`Choices`] for
//! [`PlanOptions::choices`](crate::plan::PlanOptions::choices); a [`TuneCache`] keeps them on disk. Nothing
//! here runs unless it is asked for.
//!
//! Distinct layers are measured in the order of the time that the network spends in them, each in a
//! graph of its own (`layer`), until three quarters of the budget are spent; the others keep their
//! defaults. What won layer by layer must then win as a network, or is discarded: kernels that are fast
//! alone can push each other's data out of a cache.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use crate::compare::{Difference, Tolerance};
use crate::error::Error;
use crate::gpu::{Context, Session};
use crate::graph::Graph;
use crate::kernels::Precision;
use crate::plan::{Choices, ConvShape, InputFormat, Plan, PlanOptions, candidates};
use crate::tensor::Tensor;

mod cache;
pub(crate) mod found;
mod layer;
mod samples;

pub use cache::TuneCache;
use found::{NetworkTimes, TunedLayer};
use samples::{Samples, time};

/// Part of the budget for single layers, in quarters; the rest is for the comparison of networks.
const LAYERS_QUARTERS: u32 = 3;

/// Runs of the default network, at most, that say where the time goes.
const PROFILE_RUNS: usize = 3;

/// Runs of each of the two networks, at least and at most.
const NETWORK_RUNS: [usize; 2] = [7, 31];

/// How far [`tune`] is.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum TuneProgress<'a> {
    /// A layer is about to be measured.
    Layer {
        /// Layers before it.
        done: usize,
        /// Distinct layers.
        total: usize,
        /// Its shape.
        shape: &'a ConvShape,
        /// Candidates for it.
        candidates: usize,
    },
    /// The networks with and without the choices are about to be compared.
    Networks,
}

/// What [`tune`] found.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Tuned {
    /// Distinct layers that were measured, in that order.
    pub layers: Vec<TunedLayer>,
    /// Distinct layers for which the budget did not suffice.
    pub unmeasured: usize,
    /// The two networks, where any layer has another choice than its default.
    pub networks: Option<NetworkTimes>,
}

impl Tuned {
    /// The choices that made the network faster; empty when nothing did.
    pub fn choices(&self) -> Choices {
        if self.networks.is_some_and(|networks| networks.faster) {
            self.winners()
        } else {
            Choices::default()
        }
    }

    /// The choices that won layer by layer.
    fn winners(&self) -> Choices {
        let other = self.layers.iter().filter(|l| l.choice != l.default);
        other.map(|layer| (layer.shape, layer.choice)).collect()
    }
}

/// Measures the candidates of each distinct convolution of a graph.
///
/// The options say what the device can and what is wanted; their choices are not used.
///
/// # Errors
/// [`Error::Gpu`] when the device fails, and what [`Plan::new`] returns for the graph.
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
        networks: None,
    };
    let winners = tuned.winners();
    if !winners.is_empty() {
        progress(TuneProgress::Networks);
        let options = defaults.choices(winners);
        let other = Session::new(context, &Plan::new(graph, &options)?)?;
        let networks = [&network, &other];
        let compared = compare(networks, &input, options.precision, start + budget)?;
        tuned.networks = Some(compared);
    }
    Ok(tuned)
}

/// Each distinct convolution of a graph and the number of layers that have its shape; first those in
/// which the network spends most of its time.
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
        let own = steps.filter(|(step, _)| step.node == node.name);
        let layer = layers.entry(shape).or_default();
        layer.0 += 1;
        layer.1 += own.map(|(_, time)| time).sum::<f64>();
    }
    let mut layers: Vec<_> = layers.into_iter().collect();
    layers.sort_by(|(_, (_, a)), (_, (_, b))| b.total_cmp(a));
    Ok(layers
        .into_iter()
        .map(|(shape, (count, _))| (shape, count))
        .collect())
}

/// Runs both networks in turns until the deadline, but a few times at least.
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

/// Largest difference of a candidate's results from the default's, as a part of the largest magnitude:
/// Winograd's transforms lose four bits of 24, or one of the eleven of halves.
const fn gate(precision: Precision) -> f32 {
    match precision {
        Precision::F32 => 1e-4,
        Precision::F16 => 2e-2,
    }
}

/// Whether results are the same up to rounding.
fn agrees(want: &Tensor, got: &Tensor, precision: Precision) -> Result<bool, Error> {
    let largest = want.data().iter().fold(0.0f32, |a, b| a.max(b.abs()));
    let tolerance = Tolerance {
        atol: largest * gate(precision),
        rtol: 0.0,
    };
    Ok(Difference::between(want, got, tolerance)?.is_within())
}
