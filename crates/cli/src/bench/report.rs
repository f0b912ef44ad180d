//! What `resnet bench` prints.

use resnet_run::{AdapterInfo, ModelInfo, Network};
use resnet_wgpu::check::WrongKernel;
use resnet_wgpu::internals::gpu::StepClock;
use serde::Serialize;

use super::layers::{self, LayerTime};
use super::peak::Peak;
use super::startup::Starts;
use crate::args::BenchArgs;
use crate::failure::Failure;
use crate::inspect::PlanInfo;
use crate::output::{Format, Out, Table, grouped, print, sizes};
use crate::stats::{median, quantile};
use crate::versions::Versions;

#[derive(Serialize)]
pub(super) struct Report {
    pub(super) schema_version: u32,
    pub(super) adapter: AdapterInfo,
    /// Kernels that compute wrongly on it and were replaced.
    pub(super) wrong_kernels: Vec<WrongKernel>,
    pub(super) model: ModelInfo,
    pub(super) precision: String,
    pub(super) versions: Versions,
    /// XXH3-128 of all shaders, see `kernels::set_hash`.
    pub(super) kernel_set_hash: String,
    /// XXH3-128 of all parameters, see [`crate::network::weights_hash`].
    pub(super) weights_hash: String,
    /// Threads of the CPU path.
    pub(super) threads: usize,
    pub(super) runs: Vec<Run>,
    /// The plan of the first batch size; null on the CPU.
    pub(super) plan: Option<PlanInfo>,
    /// The plans of all batch sizes.
    pub(super) plans: Vec<PlanInfo>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) layers: Vec<LayerTime>,
    /// The clock that the layers' times come from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) layers_clock: Option<StepClock>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) peak: Option<Peak>,
    pub(super) startup: Startup,
}

/// Times until the first measurement can start, for the first batch size.
#[derive(Default, Serialize)]
pub(super) struct Startup {
    pub(super) adapter_ms: f64,
    pub(super) weights_ms: f64,
    pub(super) pipelines_ms: f64,
    /// Measured from the start of the program.
    pub(super) first_result_ms: f64,
    /// Measured in other processes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) starts: Option<Starts>,
}

/// The times of one path at one batch size.
#[derive(Serialize)]
pub(super) struct Run {
    path: &'static str,
    batch: usize,
    size: [usize; 2],
    median_ms: f64,
    min_ms: f64,
    p95_ms: f64,
    images_per_s: f64,
    gflops: f64,
    samples_ms: Vec<f64>,
    /// Time by the GPU's timestamps, if it has them.
    gpu_ms: Option<f64>,
    /// From separate runs, made after those of `samples_ms`.
    gpu_samples_ms: Vec<f64>,
}

/// A median this far above the minimum, of at least five samples, shows that something else ran.
const NOISY: f64 = 1.2;

impl Run {
    /// A warning if other work on the machine has slowed the runs down.
    pub(super) fn noise(&self) -> Option<String> {
        let ratio = self.median_ms / self.min_ms;
        (self.samples_ms.len() >= 5 && ratio > NOISY).then(|| {
            format!(
                "noisy machine: on path {}, batch {}, the median is {ratio:.2} times the minimum; \
                 repeat the runs when nothing else runs, or compare minima",
                self.path, self.batch
            )
        })
    }

    pub(super) fn new(
        path: &'static str,
        network: &Network,
        samples_ms: Vec<f64>,
        gpu_samples_ms: Vec<f64>,
    ) -> Self {
        let median_ms = median(&samples_ms);
        Self {
            path,
            batch: network.batch(),
            size: network.model.size(),
            median_ms,
            min_ms: quantile(&samples_ms, 0.0),
            p95_ms: quantile(&samples_ms, 0.95),
            images_per_s: network.batch() as f64 * 1e3 / median_ms,
            gflops: 2.0 * network.macs() as f64 * 1e-6 / median_ms,
            samples_ms,
            gpu_ms: (!gpu_samples_ms.is_empty()).then(|| median(&gpu_samples_ms)),
            gpu_samples_ms,
        }
    }
}

impl Report {
    pub(super) fn print(&self, args: &BenchArgs) -> Result<(), Failure> {
        print(self, args.format, |out| match args.format {
            Format::Csv if args.layers => out.table(&layers::table(&self.layers), Format::Csv),
            Format::Csv => out.table(&self.runs_table(), Format::Csv),
            _ => self.text(out),
        })
    }

    fn text(&self, out: &mut Out) -> Result<(), Failure> {
        let model = &self.model;
        out.line(self.adapter_line())?;
        out.line(format_args!(
            "{} at {}, {} parameters, {:.3} GMACs an image, fusion {}, {}\n",
            model.name,
            sizes(&model.size),
            grouped(model.parameters as u64),
            model.macs_per_image as f64 * 1e-9,
            model.fusion,
            self.precision,
        ))?;
        out.table(&self.runs_table(), Format::Text)?;
        if self.runs.iter().any(|run| run.gpu_ms.is_some()) {
            out.line("GPU ms: by the timestamps of the device, in runs of their own")?;
        }
        out.line("")?;
        let batches = self.runs.iter().filter(|run| run.path == "gpu");
        for (run, plan) in batches.zip(&self.plans) {
            out.line(format_args!("plan of batch {}: {plan}", run.batch))?;
        }
        let startup = &self.startup;
        out.line(format_args!(
            "startup: adapter {:.0} ms, weights {:.0} ms, pipelines {:.0} ms; first result after \
             {:.0} ms",
            startup.adapter_ms, startup.weights_ms, startup.pipelines_ms, startup.first_result_ms
        ))?;
        if let Some(starts) = &startup.starts {
            out.line(format_args!(
                "starts to the first result: {:.0} ms with nothing compiled, {:.0} ms with warm caches",
                starts.cold_ms, starts.warm_ms
            ))?;
        }
        if let Some(peak) = &self.peak {
            out.line(format_args!(
                "peak: {:.1} GFLOP/s ({}), {:.1} GB/s ({}), {:.1} µs for a dispatch of nothing",
                peak.gflops,
                peak.gflops_of,
                peak.gigabytes_per_s,
                peak.gigabytes_per_s_of,
                peak.launch_us
            ))?;
        }
        for layers in self.layers.chunk_by(|a, b| a.batch == b.batch) {
            let clock = match self.layers_clock {
                Some(StepClock::Host) => "each submitted alone, by the host's clock",
                _ => "by the device's clock",
            };
            out.line(format_args!(
                "\nlayers of batch {}, {clock}",
                layers[0].batch
            ))?;
            out.table(&layers::table(layers), Format::Text)?;
        }
        Ok(())
    }

    /// The adapter with its driver.
    pub(super) fn adapter_line(&self) -> String {
        let adapter = &self.adapter;
        let driver = format!("{} {}", adapter.driver, adapter.driver_info);
        let line = format!("{} ({}) {}", adapter.name, adapter.backend, driver.trim());
        line.trim_end().to_owned()
    }

    fn runs_table(&self) -> Table {
        let header = "path, batch, runs, median ms, min ms, p95 ms, images/s, GFLOP/s, GPU ms";
        let mut table = Table::new(1, header);
        for run in &self.runs {
            table.row([
                run.path.to_owned(),
                run.batch.to_string(),
                run.samples_ms.len().to_string(),
                format!("{:.3}", run.median_ms),
                format!("{:.3}", run.min_ms),
                format!("{:.3}", run.p95_ms),
                format!("{:.1}", run.images_per_s),
                format!("{:.1}", run.gflops),
                run.gpu_ms.map_or_else(String::new, |ms| format!("{ms:.3}")),
            ]);
        }
        table
    }
}
