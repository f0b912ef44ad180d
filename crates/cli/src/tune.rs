//! `resnet tune`: which kernels are fastest on this adapter.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use resnet_wgpu::plan::InputFormat;
use resnet_wgpu::tune::{self, TuneProgress, Tuned};
use serde::Serialize;

use crate::args::TuneArgs;
use crate::caches::Caches;
use crate::device::{AdapterInfo, Device, Gpu};
use crate::failure::Failure;
use crate::network::{ModelInfo, Network};
use crate::output::{Format, Out, SCHEMA_VERSION, Table};

#[derive(Serialize)]
struct Report {
    schema_version: u32,
    adapter: AdapterInfo,
    model: ModelInfo,
    batches: Vec<Batch>,
}

/// What was found for a batch size.
#[derive(Serialize)]
struct Batch {
    batch: usize,
    layers: Vec<Layer>,
    /// Distinct layers that the time did not suffice for.
    unmeasured: usize,
    /// The network as a whole; null when every default won.
    network: Option<NetworkTimes>,
    /// File of the choices; null when there are none or `--dry-run` was given.
    stored: Option<String>,
}

#[derive(Serialize)]
struct Layer {
    layer: String,
    /// Layers of the network with this shape.
    count: usize,
    /// Candidates whose results were right.
    candidates: usize,
    /// Candidates whose results were wrong.
    wrong: usize,
    default: String,
    default_ms: f64,
    choice: String,
    choice_ms: f64,
}

#[derive(Serialize)]
struct NetworkTimes {
    default_ms: f64,
    tuned_ms: f64,
    faster: bool,
}

pub(crate) fn run(args: &TuneArgs, quiet: bool) -> Result<(), Failure> {
    let device = Device::open(&args.run.device)?;
    let Device::Gpu(gpu) = &device else {
        return Err(Failure::adapter(
            "the kernels of the CPU have nothing to choose: `resnet tune` needs an adapter, see \
             `resnet devices`",
        ));
    };
    let mut model = None;
    let mut batches = Vec::new();
    for &batch in &args.batches.counts {
        let network = Network::load(&args.run.network, batch)?;
        model.get_or_insert_with(|| network.info());
        batches.push(tune_batch(args, gpu, &network, quiet)?);
    }
    let Some(model) = model else {
        return Err(Failure::usage("--batch needs at least one number"));
    };
    let report = Report {
        schema_version: SCHEMA_VERSION,
        adapter: device.info(),
        model,
        batches,
    };
    report.print(args.format)
}

fn tune_batch(
    args: &TuneArgs,
    gpu: &Gpu,
    network: &Network,
    quiet: bool,
) -> Result<Batch, Failure> {
    let options = gpu.default_options(InputFormat::Tensor);
    let mut bar = Bar::new(quiet);
    let tuned = tune::tune(
        &gpu.context,
        &network.optimized()?,
        &options,
        Duration::from_secs_f64(args.seconds),
        &mut |progress| bar.show(progress),
    )?;
    drop(bar);
    let stored = match (args.dry_run, Caches::new(&args.run.device)) {
        (true, _) => None,
        (false, Some(caches)) => {
            let file = caches.store(&gpu.context, &options, &tuned)?;
            let file = file.display().to_string();
            (!tuned.choices().is_empty()).then_some(file)
        }
        (false, None) => {
            log::warn!("the system has no folder for caches: give one by --cache-dir");
            None
        }
    };
    Ok(Batch::new(network.batch(), &tuned, stored))
}

impl Batch {
    fn new(batch: usize, tuned: &Tuned, stored: Option<String>) -> Self {
        let layers = tuned.layers.iter().map(|layer| Layer {
            layer: layer.shape.to_string(),
            count: layer.count,
            candidates: layer.measured,
            wrong: layer.wrong,
            default: layer.default.to_string(),
            default_ms: layer.default_ms,
            choice: layer.choice.to_string(),
            choice_ms: layer.choice_ms,
        });
        Self {
            batch,
            layers: layers.collect(),
            unmeasured: tuned.unmeasured,
            network: tuned.networks.map(|networks| NetworkTimes {
                default_ms: networks.default_ms,
                tuned_ms: networks.tuned_ms,
                faster: networks.faster,
            }),
            stored,
        }
    }

    /// What came of it, in words.
    fn verdict(&self) -> String {
        let mut text = match &self.network {
            None => "every default won: nothing to change".to_owned(),
            Some(network) => {
                let NetworkTimes {
                    default_ms,
                    tuned_ms,
                    faster,
                    ..
                } = network;
                let verdict = if *faster { "kept" } else { "discarded" };
                format!(
                    "the network takes {tuned_ms:.3} ms with the choices, {default_ms:.3} ms \
                     without: {verdict}"
                )
            }
        };
        if self.unmeasured > 0 {
            text += &format!(
                "; {} distinct layers were not reached, more --seconds would",
                self.unmeasured
            );
        }
        if let Some(file) = &self.stored {
            text += &format!("\nstored in {file}");
        }
        text
    }
}

impl Report {
    fn print(&self, format: Format) -> Result<(), Failure> {
        let mut out = Out::new();
        match format {
            Format::Json => out.json(self)?,
            Format::Csv => out.table(&self.table(), Format::Csv)?,
            _ => {
                out.table(&self.table(), Format::Text)?;
                for batch in &self.batches {
                    out.line(format_args!("batch {}: {}", batch.batch, batch.verdict()))?;
                }
            }
        }
        out.flush()
    }

    fn table(&self) -> Table {
        let header = [
            "layer",
            "default",
            "choice",
            "n",
            "tried",
            "default ms",
            "choice ms",
        ];
        let mut table = Table::new(3, &header);
        for layer in self.batches.iter().flat_map(|batch| &batch.layers) {
            table.row([
                layer.layer.clone(),
                layer.default.clone(),
                layer.choice.clone(),
                layer.count.to_string(),
                layer.candidates.to_string(),
                format!("{:.4}", layer.default_ms),
                format!("{:.4}", layer.choice_ms),
            ]);
        }
        table
    }
}

/// How far it is, on stderr; gone when this is dropped.
struct Bar(Option<ProgressBar>);

impl Bar {
    fn new(quiet: bool) -> Self {
        if quiet {
            return Self(None);
        }
        let bar = ProgressBar::with_draw_target(Some(1), ProgressDrawTarget::stderr());
        let style = ProgressStyle::with_template("tuning {pos}/{len} {wide_bar} {msg}");
        bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
        Self(Some(bar))
    }

    fn show(&mut self, progress: TuneProgress<'_>) {
        let Some(bar) = &self.0 else { return };
        match progress {
            TuneProgress::Layer {
                done,
                total,
                shape,
                candidates,
            } => {
                bar.set_length(total as u64);
                bar.set_position(done as u64);
                bar.set_message(format!("{shape}, {candidates} candidates"));
            }
            TuneProgress::Networks => bar.set_message("the whole network"),
            _ => {}
        }
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        if let Some(bar) = &self.0 {
            bar.finish_and_clear();
        }
    }
}
