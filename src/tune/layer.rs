//! Measures the candidates of one convolution against each other.

use std::time::Duration;

use super::samples::{Samples, noise, time};
use super::{TunedLayer, agrees};
use crate::clock::Instant;
use crate::error::Error;
use crate::gpu::{Context, Session, StepClock};
use crate::graph::{Conv2d, Graph, Op};
use crate::kernels::conv2d::{Projection, Residual};
use crate::plan::{Candidate, ConvShape, Plan, PlanOptions, candidates};
use crate::tensor::Tensor;

/// Minimum and maximum number of samples per candidate.
const SAMPLES: [usize; 2] = [5, 25];

/// Time limit for a layer, once each candidate has the minimum number of [`SAMPLES`].
const ENOUGH: Duration = Duration::from_millis(400);

/// A candidate that is slower than the best by this factor is not measured any further.
const HOPELESS: f64 = 1.5;
/// Number of samples before that is decided.
const BEFORE_HOPELESS: usize = 2;

/// A candidate replaces the default only if it takes less than this fraction of the default's time:
/// smaller differences are noise.
const WORTHWHILE: f64 = 0.97;

/// Minimum duration of a sample measured with the host's clock, in milliseconds.
const LEAST_WALL_MS: f64 = 2.0;

/// The name of the measured node in its graph.
const NODE: &str = "layer";
/// The name of its projection, which is measured with it where the two may be one.
const PROJECTION: &str = "projection";

/// The outcome for a layer.
pub(super) struct Measured {
    measured: usize,
    wrong: usize,
    default: (Candidate, f64),
    best: (Candidate, f64),
}

impl Measured {
    pub(super) fn of(self, shape: ConvShape, count: usize) -> TunedLayer {
        TunedLayer {
            shape,
            count,
            measured: self.measured,
            wrong: self.wrong,
            default: self.default.0,
            default_ms: self.default.1,
            choice: self.best.0,
            choice_ms: self.best.1,
        }
    }
}

/// A candidate, prepared on the device.
struct Contestant {
    candidate: Candidate,
    session: Session,
    /// Which dispatches belong to the layer.
    own: Vec<bool>,
    /// Number of runs per sample when measured with the host's clock.
    runs: usize,
    samples: Samples,
}

impl Contestant {
    /// Times the layer by the device's clock, or else the whole graph by the host's clock, averaged
    /// over many runs so that the cost of submission is negligible.
    fn sample(&mut self) -> Result<(), Error> {
        let ms = match self.session.step_clock() {
            StepClock::Device => {
                let times = self.session.run_step_timed()?;
                let own = times.iter().zip(&self.own).filter(|(_, own)| **own);
                own.map(|(ms, _)| ms).sum()
            }
            StepClock::Host => self.sample_wall()?,
        };
        self.samples.push(ms);
        Ok(())
    }

    fn sample_wall(&mut self) -> Result<f64, Error> {
        let run =
            |runs: usize| time(|| (0..runs).try_for_each(|_| self.session.run_timed().map(drop)));
        if self.runs == 0 {
            let once = run(1)?.max(1e-3);
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "at most 2000"
            )]
            let runs = (LEAST_WALL_MS / once).ceil() as usize;
            self.runs = runs.max(1);
        }
        Ok(run(self.runs)? / self.runs as f64)
    }
}

/// A graph with a convolution of this shape. Its residual is another one of the same shape, or the projection, and is
/// computed in every case.
fn graph_of(shape: &ConvShape) -> Result<Graph, Error> {
    let geometry = shape.geometry();
    let mut graph = Graph::new();
    let conv = |graph: &mut Graph, in_c: usize, out_c: usize, kernel: [usize; 2]| {
        let terms = in_c * kernel[0] * kernel[1];
        let dims = [out_c, in_c, kernel[0], kernel[1]];
        let weight = graph.param("weight", noise(&dims, 1.0 / (terms as f32).sqrt()));
        let bias = graph.param("bias", noise(&dims[..1], 1.0));
        Conv2d::new(weight).bias(Some(bias))
    };
    let [in_c, out_c] = [geometry.input.c, geometry.output.c];
    let layer = Conv2d {
        stride: geometry.stride,
        padding: geometry.padding,
        dilation: geometry.dilation,
        groups: geometry.groups,
        ..conv(&mut graph, in_c / geometry.groups, out_c, geometry.kernel)
    };
    // Whatever has a ReLU is no projection.
    let before = |conv: Conv2d| Op::Conv2d(Conv2d { relu: true, ..conv });
    let inputs = match geometry.projection {
        Some(Projection { input, stride }) => {
            let x = graph.input("input", input)?;
            let strided = |conv: Conv2d| Conv2d { stride, ..conv };
            let first = strided(conv(&mut graph, input.c, in_c, [1, 1]));
            let projection = strided(conv(&mut graph, input.c, out_c, [1, 1]));
            let first = graph.add("first", before(first), &[x])?;
            vec![first, graph.add(PROJECTION, Op::Conv2d(projection), &[x])?]
        }
        None => {
            let x = graph.input("input", geometry.input)?;
            match geometry.residual {
                Residual::None => vec![x],
                _ => vec![x, graph.add("residual", before(layer), &[x])?],
            }
        }
    };
    let relu = geometry.relu;
    let output = graph.add(NODE, Op::Conv2d(Conv2d { relu, ..layer }), &inputs)?;
    graph.mark_output(output)?;
    Ok(graph)
}

/// Measures the candidates of a layer in turns. `None` if the deadline passed before each had the
/// minimum number of samples.
pub(super) fn measure(
    context: &Context,
    shape: &ConvShape,
    options: &PlanOptions,
    deadline: Instant,
) -> Result<Option<Measured>, Error> {
    let graph = graph_of(shape)?;
    let input = noise(&graph.shape(graph.inputs()[0]).dims(), 1.0);
    let mut contestants: Vec<Contestant> = Vec::new();
    let mut want: Option<Vec<Tensor>> = None;
    let mut wrong = 0;
    let possible = candidates(shape, options)?;
    let may_fold = possible.iter().any(Candidate::folds);
    for candidate in possible {
        if Instant::now() >= deadline {
            return Ok(None);
        }
        let Some(contestant) = contestant(context, &graph, (shape, candidate, may_fold), options)?
        else {
            continue;
        };
        // The first run also warms up: some drivers compile only then.
        let got = contestant.session.run(&input)?;
        let want = want.get_or_insert_with(|| got.clone());
        let agreements = want
            .iter()
            .zip(&got)
            .map(|(want, got)| agrees(want, got, options.precision));
        if agreements
            .collect::<Result<Vec<bool>, Error>>()?
            .contains(&false)
        {
            log::warn!("{candidate} computes something else than the default for {shape}");
            wrong += 1;
        } else {
            contestants.push(contestant);
        }
    }
    let measured = contestants.len();
    if !run_rounds(&mut contestants, deadline)? {
        return Ok(None);
    }
    Ok(verdict(&contestants).map(|(default, best)| Measured {
        measured,
        wrong,
        default,
        best,
    }))
}

/// Prepares a candidate on the device; `None` if the device cannot hold it.
fn contestant(
    context: &Context,
    graph: &Graph,
    (shape, candidate, may_fold): (&ConvShape, Candidate, bool),
    options: &PlanOptions,
) -> Result<Option<Contestant>, Error> {
    let options = options
        .clone()
        .choices([(*shape, candidate)].into_iter().collect());
    let plan = match Plan::new(graph, &options) {
        Ok(plan) => plan,
        Err(Error::LimitExceeded { .. }) => return Ok(None),
        Err(error) => return Err(error),
    };
    let session = match Session::new(context, &plan) {
        Ok(session) => session,
        Err(Error::OutOfMemory { .. }) => return Ok(None),
        Err(error) => return Err(error),
    };
    let steps = plan.steps().iter();
    Ok(Some(Contestant {
        candidate,
        session,
        own: steps
            .map(|step| step.node == NODE || (may_fold && step.node == PROJECTION))
            .collect(),
        runs: 0,
        samples: Samples::default(),
    }))
}

/// Samples all contestants in turns, so that none benefits from a cooler processor or a quieter
/// moment; hopeless ones stop early. Returns false if the deadline passed too early.
fn run_rounds(contestants: &mut [Contestant], deadline: Instant) -> Result<bool, Error> {
    let start = Instant::now();
    let [least, most] = SAMPLES;
    for round in 0..most {
        if round >= least && start.elapsed() >= ENOUGH {
            break;
        }
        let best = contestants.iter().map(|c| c.samples.min());
        let best = best.fold(f64::INFINITY, f64::min);
        for (index, contestant) in contestants.iter_mut().enumerate() {
            if Instant::now() >= deadline {
                return Ok(round >= least);
            }
            // The default comes first; it is always measured, as all are compared with it.
            let is_hopeless =
                index > 0 && round >= BEFORE_HOPELESS && contestant.samples.min() > HOPELESS * best;
            if !is_hopeless {
                contestant.sample()?;
            }
        }
    }
    Ok(true)
}

/// The default and the winner, with their shortest times.
fn verdict(contestants: &[Contestant]) -> Option<((Candidate, f64), (Candidate, f64))> {
    let (default, others) = contestants.split_first()?;
    let result = |c: &Contestant| (c.candidate, c.samples.min());
    let [least, _] = SAMPLES;
    let better = others.iter().filter(|other| {
        let faster = |q| other.samples.quantile(q) < WORTHWHILE * default.samples.quantile(q);
        other.samples.len() >= least && faster(0.0) && faster(0.5)
    });
    let best = better.min_by(|a, b| a.samples.min().total_cmp(&b.samples.min()));
    Some((
        result(default),
        best.map_or_else(|| result(default), result),
    ))
}
