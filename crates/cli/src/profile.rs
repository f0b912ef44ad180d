//! `resnet profile`: when each kernel ran, as a trace for Perfetto or Chrome.

use resnet_run::{AdapterInfo, Device, ModelInfo};
use resnet_wgpu::Error;
use resnet_wgpu::gpu::Session;
use resnet_wgpu::internals::files::NewFile;
use resnet_wgpu::internals::gpu::{StepClock, StepSpan};
use resnet_wgpu::internals::plan::{Candidate, Step};
use resnet_wgpu::plan::{InputFormat, Plan};
use serde::Serialize;

use crate::args::ProfileArgs;
use crate::failure::Failure;
use crate::output::SCHEMA_VERSION;
use crate::{network, overwrite, runner};

/// A trace in Google's Trace Event Format, the JSON object form.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Trace<'a> {
    trace_events: Vec<Event<'a>>,
    display_time_unit: &'static str,
    other_data: About,
}

/// A description of the trace. The format leaves the choice of fields to the writer.
#[derive(Serialize)]
struct About {
    schema_version: u32,
    adapter: AdapterInfo,
    model: ModelInfo,
    batch: usize,
    /// The clock that the times come from.
    clock: StepClock,
}

/// All events belong to one process. Each run is shown as a thread that starts at time zero, so
/// that runs appear below each other.
const PROCESS: u32 = 1;

#[derive(Serialize)]
#[serde(tag = "ph")]
enum Event<'a> {
    /// Names the process or a thread.
    #[serde(rename = "M")]
    Name {
        name: &'static str,
        pid: u32,
        tid: usize,
        args: Name,
    },
    /// A kernel, from start to end.
    #[serde(rename = "X")]
    Complete {
        name: &'a str,
        cat: &'static str,
        pid: u32,
        tid: usize,
        /// Microseconds.
        ts: f64,
        /// Microseconds.
        dur: f64,
        args: Details<'a>,
    },
}

#[derive(Serialize)]
struct Name {
    name: String,
}

#[derive(Serialize)]
struct Details<'a> {
    value: &'a str,
    kernel: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    choice: Option<Candidate>,
    output: [usize; 4],
    workgroups: [u64; 3],
    macs: u64,
    bytes: u64,
}

pub(crate) fn run(args: &ProfileArgs, quiet: bool) -> Result<(), Failure> {
    overwrite::refuse(&args.output, args.run.network.weights.as_deref())?;
    let mut file = NewFile::create(&args.output)?;
    let device = Device::open(&args.run.device)?;
    let network = network::load(&args.run.network, args.batch.count)?;
    let runner = runner::prepare(&device, &network.optimized()?, InputFormat::Tensor, quiet)?;
    let Some((session, plan)) = runner.gpu() else {
        return Err(Failure::adapter(
            "`resnet profile` needs an adapter, see `resnet devices`",
        ));
    };
    runner.engine().run(&network::noise(&network)?)?;
    let runs = measure(session, args)?;
    let trace = Trace {
        trace_events: events(plan, &runs, &device.info().name),
        display_time_unit: "ms",
        other_data: About {
            schema_version: SCHEMA_VERSION,
            adapter: device.info(),
            model: network.info(),
            batch: network.batch(),
            clock: session.step_clock(),
        },
    };
    let path = args.output.display();
    let json = serde_json::to_vec(&trace)
        .map_err(|error| Failure::runtime(format!("cannot write '{path}': {error}")))?;
    file.write(&json)?;
    file.finish()?;
    log::info!(
        "{} kernels of {} runs are in {path}; ui.perfetto.dev and chrome://tracing show them",
        plan.steps().len(),
        runs.len()
    );
    Ok(())
}

/// Measures when the kernels of each run started and ended.
fn measure(session: &Session, args: &ProfileArgs) -> Result<Vec<Vec<StepSpan>>, Failure> {
    for _ in 0..args.warmup {
        session.run_spans()?;
    }
    let runs: Result<_, Error> = (0..args.iterations).map(|_| session.run_spans()).collect();
    Ok(runs?)
}

fn events<'a>(plan: &'a Plan, runs: &[Vec<StepSpan>], adapter: &str) -> Vec<Event<'a>> {
    let named = |name, tid, text: String| Event::Name {
        name,
        pid: PROCESS,
        tid,
        args: Name { name: text },
    };
    let mut events = vec![named("process_name", 0, adapter.to_owned())];
    for (tid, run) in (1..).zip(runs) {
        events.push(named("thread_name", tid, format!("run {tid}")));
        let steps = plan.steps().iter().zip(run);
        events.extend(steps.map(|(step, span)| kernel(step, span, tid)));
    }
    events
}

fn kernel<'a>(step: &'a Step, span: &StepSpan, tid: usize) -> Event<'a> {
    Event::Complete {
        name: &step.node,
        cat: step.launch.kernel.name,
        pid: PROCESS,
        tid,
        ts: span.begin_ms * 1e3,
        dur: span.milliseconds() * 1e3,
        args: Details {
            value: &step.value,
            kernel: step.launch.kernel.name,
            choice: step.choice,
            output: step.shape.dims(),
            workgroups: step.launch.workgroups,
            macs: step.macs,
            bytes: step.bytes,
        },
    }
}
