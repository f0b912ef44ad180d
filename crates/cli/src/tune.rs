//! `resnet tune`: which kernels are fastest on this adapter.

use std::time::Duration;

use resnet_run::{AdapterInfo, Caches, Device, Gpu, ModelInfo, Network};
use resnet_wgpu::plan::InputFormat;
use resnet_wgpu::tune::{self, Tuned};
use serde::Serialize;

use crate::args::TuneArgs;
use crate::failure::Failure;
use crate::network;
use crate::output::{Format, SCHEMA_VERSION, Table, print};
use crate::progress::Bars;

#[derive(Serialize)]
struct Report {
    schema_version: u32,
    adapter: AdapterInfo,
    model: ModelInfo,
    batches: Vec<Batch>,
}

/// The result for one batch size.
#[derive(Serialize)]
struct Batch {
    batch: usize,
    layers: Vec<LayerChoice>,
    /// Number of distinct layers that could not be measured in time.
    unmeasured: usize,
    /// Times of the whole network; null if every default won.
    network: Option<NetworkTimes>,
    /// The file that choices are stored in; null if there are none, or with `--dry-run`.
    stored: Option<String>,
}

#[derive(Serialize)]
struct LayerChoice {
    layer: String,
    /// The number of layers of this shape in the network.
    count: usize,
    /// Number of candidates with correct results.
    candidates: usize,
    /// Number of candidates with wrong results.
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
            "the CPU has no kernels to choose from: `resnet tune` needs an adapter, see \
             `resnet devices`",
        ));
    };
    let mut model = None;
    let mut batches = Vec::new();
    for &batch in &args.batches.counts {
        let network = network::load(&args.run.network, batch)?;
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
    print(&report, args.format, |out| {
        out.table(&report.table(), args.format)?;
        if args.format == Format::Text {
            for batch in &report.batches {
                out.line(format_args!("batch {}: {}", batch.batch, batch.verdict()))?;
            }
        }
        Ok(())
    })
}

fn tune_batch(
    args: &TuneArgs,
    gpu: &Gpu,
    network: &Network,
    quiet: bool,
) -> Result<Batch, Failure> {
    let graph = network.optimized()?;
    let options = if args.dry_run {
        // Which would store what it finds.
        gpu.default_options(InputFormat::Tensor)
    } else {
        gpu.options(&graph, InputFormat::Tensor)?
    };
    let mut bars = Bars::new(quiet);
    let tuned = tune::tune(
        &gpu.context,
        &graph,
        &options,
        Duration::from_secs_f64(args.seconds),
        &mut |progress| bars.tune(progress),
    )?;
    drop(bars);
    let stored = match (
        args.dry_run,
        Caches::new(args.run.device.adapter.cache_dir.clone()),
    ) {
        (true, _) => None,
        (false, Some(caches)) => {
            let file = caches.store(&gpu.context, &options, &tuned)?;
            let file = file.display().to_string();
            (!tuned.choices.is_empty()).then_some(file)
        }
        (false, None) => {
            log::warn!("the system has no folder for caches; name one with --cache-dir");
            None
        }
    };
    Ok(Batch::new(network.batch(), &tuned, stored))
}

impl Batch {
    fn new(batch: usize, tuned: &Tuned, stored: Option<String>) -> Self {
        let layers = tuned.layers.iter().map(|layer| LayerChoice {
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

    /// The outcome in words.
    fn verdict(&self) -> String {
        let mut text = match &self.network {
            None if self.layers.is_empty() => "nothing was measured, nothing changes".to_owned(),
            None if self
                .layers
                .iter()
                .all(|layer| layer.candidates + layer.wrong < 2) =>
            {
                "there was nothing to try: each layer has one kernel here".to_owned()
            }
            None => "every default won: nothing to change".to_owned(),
            Some(times) => format!(
                "the network takes {:.3} ms with the choices, {:.3} ms without: {}",
                times.tuned_ms,
                times.default_ms,
                if times.faster {
                    "kept"
                } else {
                    "no more than noise, so the defaults stay"
                }
            ),
        };
        if self.unmeasured > 0 {
            text += &format!(
                "; {} distinct layers were not reached: give it more --seconds",
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
    fn table(&self) -> Table {
        let header = "layer, default, choice, n, tried, default ms, choice ms";
        let mut table = Table::new(3, header);
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
