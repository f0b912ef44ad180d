//! `resnet bench`: how long the network takes on the GPU and on the CPU.

mod diff;
mod layers;
mod peak;
mod plot;
mod probe;
mod report;
mod startup;

use std::time::Instant;

use resnet_run::{Device, Network};
use resnet_wgpu::engine::{CpuExecutor, Engine, Oracle};
use resnet_wgpu::gpu::Session;
use resnet_wgpu::graph::Graph;
use resnet_wgpu::internals::files::NewFile;
use resnet_wgpu::internals::kernels::{self, Precision};
use resnet_wgpu::plan::InputFormat;
use resnet_wgpu::tensor::Tensor;

use crate::args::{BenchArgs, BenchCommand};
use crate::compare::{difference, relative};
use crate::failure::Failure;
use crate::inspect::PlanInfo;
use crate::output::{Out, SCHEMA_VERSION, hex};
use crate::stats::milliseconds;
use crate::tolerances::Tolerances;
use crate::versions::Versions;
use crate::{network, runner};
use peak::Peak;
use report::{Report, Run, Startup};
use startup::Starts;

pub(crate) fn run(args: &BenchArgs, quiet: bool) -> Result<(), Failure> {
    if let Some(BenchCommand::Diff(args)) = &args.command {
        return diff::run(args);
    }
    let begin = Instant::now();
    let device = Device::open(&args.run.device)?;
    if args.start_only {
        return start(args, quiet, &device, begin);
    }
    let adapter_ms = milliseconds(begin.elapsed());
    let chart = args.plot.as_deref().map(NewFile::create).transpose()?;
    let Some(&first) = args.batches.counts.first() else {
        return Err(Failure::usage("--batch needs at least one number"));
    };
    let mut network = network::load(&args.run.network, first)?;
    let report = Report {
        schema_version: SCHEMA_VERSION,
        adapter: device.info(),
        wrong_kernels: Vec::new(),
        model: network.info(),
        precision: device.precision().to_string(),
        versions: Versions::new(),
        kernel_set_hash: hex(kernels::set_hash()),
        weights_hash: hex(network::weights_hash(&network)),
        threads: rayon::current_num_threads(),
        runs: Vec::new(),
        plan: None,
        plans: Vec::new(),
        layers: Vec::new(),
        layers_clock: None,
        peak: None,
        startup: Startup {
            adapter_ms,
            weights_ms: network.weights_ms,
            ..Startup::default()
        },
    };
    let mut bench = Bench {
        args,
        quiet,
        begin,
        device,
        report,
    };
    for &batch in &args.batches.counts {
        network.set_batch(batch)?;
        bench.measure(&network)?;
    }
    bench.measure_peak()?;
    let mut report = bench.report;
    report.plan = report.plans.first().cloned();
    report.wrong_kernels = bench.device.wrong();
    if args.startup {
        report.startup.starts = Some(Starts::measure()?);
    }
    report.print(args)?;
    match chart {
        Some(file) => plot::write(&report, file),
        None => Ok(()),
    }
}

/// Runs once and prints the time since the start of the program, in milliseconds.
fn start(args: &BenchArgs, quiet: bool, device: &Device, begin: Instant) -> Result<(), Failure> {
    let batch = args.batches.counts.first().copied().unwrap_or(1);
    let network = network::load(&args.run.network, batch)?;
    let graph = network.optimized()?;
    let runner = runner::prepare(device, &graph, InputFormat::Tensor, quiet)?;
    runner.engine().run(&network::noise(&network)?)?;
    let mut out = Out::new();
    out.line(milliseconds(begin.elapsed()))?;
    out.flush()
}

struct Bench<'a> {
    args: &'a BenchArgs,
    quiet: bool,
    begin: Instant,
    device: Device,
    report: Report,
}

impl Bench<'_> {
    /// Times one batch size on every requested path.
    fn measure(&mut self, network: &Network) -> Result<(), Failure> {
        let graph = network.optimized()?;
        let input = network::noise(network)?;

        let runner = runner::prepare(&self.device, &graph, InputFormat::Tensor, self.quiet)?;
        let first = runner.engine().run(&input)?;
        if self.report.runs.is_empty() {
            self.report.startup.pipelines_ms = runner.pipelines_ms;
            self.report.startup.first_result_ms = milliseconds(self.begin.elapsed());
        }

        if let Some((session, plan)) = runner.gpu() {
            let cpu = CpuExecutor::new(&graph)?;
            let want = cpu.run(&input)?;
            let allowed = Tolerances::of(self.device.precision());
            check("the GPU", &first, "the CPU path", &want, allowed)?;
            log::debug!("batch {}: results agree with the CPU path", network.batch());
            let samples = self.time(self.args.warmup, || {
                session.run_uploaded().map_err(Failure::from).map(drop)
            })?;
            let gpu_ms = self.gpu_times(session)?;
            self.push("gpu", network, samples, gpu_ms);
            self.report.plans.push(PlanInfo::new(plan));
            if self.args.layers {
                let timed = layers::measure(session, plan, network.batch(), self.args)?;
                self.report.layers.extend(timed);
                self.report.layers_clock = Some(session.step_clock());
            }
            if self.args.cpu {
                self.time_cpu(network, &cpu, &input)?;
            }
        } else {
            if self.args.layers {
                log::warn!("--layers needs a GPU: the layers are those of its plan");
            }
            drop(runner);
            let expected = expected(&network.model.graph, &input)?;
            let allowed = Tolerances::of(Precision::F32);
            check("the CPU path", &first, "the reference", &expected, allowed)?;
            self.time_cpu(network, &CpuExecutor::new(&graph)?, &input)?;
        }
        if self.args.reference {
            // No warm-up, as a run takes seconds.
            let samples = self.time(0, || expected(&network.model.graph, &input).map(drop))?;
            self.push("reference", network, samples, Vec::new());
        }
        Ok(())
    }

    /// Measures the adapter's peak rates if there are layers to compare with them.
    fn measure_peak(&mut self) -> Result<(), Failure> {
        let Device::Gpu(gpu) = &self.device else {
            return Ok(());
        };
        let layers = &mut self.report.layers;
        if !layers.is_empty() {
            let peak = Peak::measure(&gpu.context, layers)?;
            for layer in layers {
                layer.share_of_peak = peak.share(layer);
            }
            self.report.peak = Some(peak);
        }
        Ok(())
    }

    fn time_cpu(
        &mut self,
        network: &Network,
        cpu: &CpuExecutor,
        input: &Tensor,
    ) -> Result<(), Failure> {
        let samples = self.time(self.args.warmup, || {
            let outputs = cpu.run(input);
            outputs.map_err(Failure::from).map(drop)
        })?;
        self.push("cpu", network, samples, Vec::new());
        Ok(())
    }

    /// The time of each run in milliseconds; at least one run.
    fn time(
        &self,
        warmup: usize,
        mut run: impl FnMut() -> Result<(), Failure>,
    ) -> Result<Vec<f64>, Failure> {
        let begin = Instant::now();
        let is_over = || begin.elapsed().as_secs_f64() >= self.args.seconds;
        for _ in 0..warmup {
            if is_over() {
                break;
            }
            run()?;
        }
        let begin = Instant::now();
        let mut samples = Vec::new();
        while samples.len() < self.args.iterations {
            let start = Instant::now();
            run()?;
            samples.push(milliseconds(start.elapsed()));
            if begin.elapsed().as_secs_f64() >= self.args.seconds {
                break;
            }
        }
        Ok(samples)
    }

    /// The time of each run by the GPU's timestamps, in milliseconds; empty if there are none.
    fn gpu_times(&self, session: &Session) -> Result<Vec<f64>, Failure> {
        let mut times = Vec::new();
        self.time(0, || {
            times.extend(session.run_timed()?);
            Ok(())
        })?;
        Ok(times)
    }

    fn push(&mut self, path: &'static str, network: &Network, samples: Vec<f64>, gpu: Vec<f64>) {
        let run = Run::new(path, network, samples, gpu);
        if let Some(noise) = run.noise() {
            log::warn!("{noise}");
        }
        self.report.runs.push(run);
    }
}

fn expected(graph: &Graph, input: &Tensor) -> Result<Vec<Tensor>, Failure> {
    Ok(Oracle::new(graph.clone()).run(input)?)
}

/// Checks the results, because wrong ones are not worth timing.
fn check(
    who: &str,
    got: &[Tensor],
    other: &str,
    want: &[Tensor],
    allowed: Tolerances,
) -> Result<(), Failure> {
    let ([got, ..], [want, ..]) = (got, want) else {
        return Err(Failure::runtime("the network has no logits"));
    };
    let difference = difference(want, got)?;
    let relative = relative(&difference);
    // Written so that a NaN fails.
    if difference.max_abs <= allowed.logit && relative <= allowed.relative {
        return Ok(());
    }
    Err(Failure::outside(format!(
        "{who} and {other} differ by {:.2e} in a logit, {relative:.2e} of the largest; allowed are \
         {:.0e} and {:.0e}: wrong results are not timed; `resnet compare` shows the \
         first wrong layer",
        difference.max_abs, allowed.logit, allowed.relative
    )))
}
