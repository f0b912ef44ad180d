//! `resnet compare`: the output of every layer against its expected values.

use std::collections::{HashMap, HashSet};

use resnet_run::{AdapterInfo, Device, ModelInfo, Network, Runner};
use resnet_wgpu::engine::CpuExecutor;
use resnet_wgpu::graph::{Graph, Role};
use resnet_wgpu::internals::compare::{Difference, Tolerance};
use resnet_wgpu::internals::reference::{self, Activations, Keep};
use resnet_wgpu::picture::Batch;
use resnet_wgpu::picture::top_k;
use resnet_wgpu::plan::InputFormat;
use resnet_wgpu::tensor::Tensor;
use serde::Serialize;

use crate::args::{CompareArgs, NetworkArgs};
use crate::failure::Failure;
use crate::golden::Golden;
use crate::images;
use crate::output::{Format, Out, SCHEMA_VERSION, Table};
use crate::tolerances::Tolerances;
use crate::{network, runner};

/// The number of top classes that must agree, in order.
const BEST: usize = 5;

#[derive(Serialize)]
struct Report {
    schema_version: u32,
    adapter: AdapterInfo,
    model: ModelInfo,
    /// Null when a golden file has no logits.
    logits: Option<Logits>,
    layers: Vec<ComparedLayer>,
    /// The first layer outside the tolerance.
    first_outside: Option<String>,
    within: bool,
}

#[derive(Serialize)]
struct Logits {
    max_abs: f32,
    max_rel: f32,
    cosine: f64,
    top5_equal: bool,
    within: bool,
}

#[derive(Serialize)]
struct ComparedLayer {
    name: String,
    /// The name of the layer's output value.
    value: String,
    kernel: &'static str,
    max_abs: f32,
    max_rel: f32,
    cosine: f64,
    within: bool,
}

/// The input as a tensor and, for an image, as pixels.
enum Input {
    Tensor(Tensor),
    Image(Batch),
}

impl Input {
    fn tensor(&self) -> Tensor {
        match self {
            Self::Tensor(tensor) => tensor.clone(),
            Self::Image(batch) => batch.tensor(),
        }
    }

    /// Images are normalised on the GPU, so that this kernel is compared too.
    fn format(&self) -> InputFormat {
        match self {
            Self::Tensor(_) => InputFormat::Tensor,
            Self::Image(batch) => InputFormat::of(*batch.rules()),
        }
    }

    fn run(&self, runner: &Runner) -> Result<Vec<Tensor>, Failure> {
        Ok(match self {
            Self::Tensor(tensor) => runner.engine().run(tensor)?,
            Self::Image(batch) => runner.engine().run_pictures(batch)?,
        })
    }
}

/// The computed values: all layers by name, in execution order, and the logits of a second run.
struct Computed {
    layers: Vec<ComputedLayer>,
    logits: Tensor,
}

struct ComputedLayer {
    name: String,
    value: String,
    kernel: &'static str,
    tensor: Tensor,
}

/// The expected values.
enum Expected {
    Reference(Activations),
    Golden(Golden),
}

pub(crate) fn run(args: &CompareArgs, quiet: bool) -> Result<(), Failure> {
    let device = if args.cpu {
        Device::Cpu
    } else {
        Device::open(&args.run.device)?
    };
    let golden = args.golden.as_deref().map(Golden::read).transpose()?;
    let (network_args, batch) = match &golden {
        Some(golden) => of_golden(&args.run.network, golden),
        None => (args.run.network.clone(), args.batch.count),
    };
    let network = network::load(&network_args, batch)?;
    let input = match (&golden, &args.image) {
        (Some(golden), _) => Input::Tensor(golden.input.clone()),
        (None, Some(path)) => {
            let reader = args.read.reader();
            let one = reader.prepare(path, &images::read(path)?, &network.model.preprocess)?;
            Input::Image(Batch::join(&[one], batch)?)
        }
        (None, None) => Input::Tensor(network::noise(&network)?),
    };
    let computed = compute(&network, &device, &input, quiet)?;
    let expected = match golden {
        Some(golden) => Expected::Golden(golden),
        None => Expected::Reference(reference::run_keeping(
            &network.model.graph,
            &[input.tensor()],
            Keep::All,
        )?),
    };
    let tolerances = Tolerances::new(args, device.precision());
    let report = judge(tolerances, &network, &device, &computed, &expected)?;
    print(&report, args.format)?;
    verdict(&report, tolerances)
}

/// Takes batch and image size from the golden input.
fn of_golden(args: &NetworkArgs, golden: &Golden) -> (NetworkArgs, usize) {
    let dims = golden.input.dims();
    let mut args = args.clone();
    args.choices.size = args.choices.size.or(Some([dims[2], dims[3]]));
    (args, dims[0])
}

fn compute(
    network: &Network,
    device: &Device,
    input: &Input,
    quiet: bool,
) -> Result<Computed, Failure> {
    let graph = network.optimized()?;
    // The logits come from a run like that of `classify`, in which layers share buffers and write
    // in place.
    let runner = runner::prepare(device, &graph, input.format(), quiet)?;
    let logits = input.run(&runner)?.into_iter().next();
    let logits = logits.ok_or_else(|| Failure::runtime("the network has no logits"))?;
    let steps = runner.gpu().map_or(&[][..], |(_, plan)| plan.steps());
    let computed: HashSet<String> = steps.iter().map(|step| step.value.clone()).collect();
    drop(runner);
    let layers = match device {
        Device::Cpu => cpu_layers(&graph, &input.tensor())?,
        Device::Gpu(_) => gpu_layers(graph, &computed, device, input, quiet)?,
    };
    Ok(Computed { layers, logits })
}

fn cpu_layers(graph: &Graph, input: &Tensor) -> Result<Vec<ComputedLayer>, Failure> {
    let executor = CpuExecutor::new(graph)?;
    let activations = executor.run_keeping_all(std::slice::from_ref(input))?;
    let layers = graph.nodes().iter().filter_map(|node| {
        Some(ComputedLayer {
            name: node.name.clone(),
            value: graph.get(node.output).ok()?.name.clone(),
            kernel: node.op.kind(),
            tensor: activations.get(node.output)?.clone(),
        })
    });
    Ok(layers.collect())
}

/// Outputs are marked after fusion: a value marked before would not be fused away, and the
/// comparison must cover the graph that usually runs. For the same reason values are left out that it does not
/// compute, because a layer is computed with another one.
fn gpu_layers(
    mut graph: Graph,
    computed: &HashSet<String>,
    device: &Device,
    input: &Input,
    quiet: bool,
) -> Result<Vec<ComputedLayer>, Failure> {
    let values = graph.values();
    let values = values.filter(|(_, value)| computed.contains(&value.name));
    let values: Vec<_> = values.map(|(id, _)| id).collect();
    for value in values {
        graph.mark_output(value)?;
    }
    let runner = runner::prepare(device, &graph, input.format(), quiet)?;
    let tensors = input.run(&runner)?;
    let Some((_, plan)) = runner.gpu() else {
        return Ok(Vec::new());
    };
    let names = plan.outputs().iter().map(|output| output.name.as_str());
    let by_name: HashMap<&str, Tensor> = names.zip(tensors).collect();
    let layers = plan.steps().iter().filter_map(|step| {
        Some(ComputedLayer {
            name: step.node.clone(),
            value: step.value.clone(),
            kernel: step.launch.kernel.name,
            tensor: by_name.get(step.value.as_str())?.clone(),
        })
    });
    Ok(layers.collect())
}

fn judge(
    tolerances: Tolerances,
    network: &Network,
    device: &Device,
    computed: &Computed,
    expected: &Expected,
) -> Result<Report, Failure> {
    // The reference runs the unfused graph, which has every value of the fused one.
    let graph = &network.model.graph;
    let want = |name: &str| -> Result<Option<Tensor>, Failure> {
        match expected {
            Expected::Reference(activations) => Ok(activations.get(graph.find(name)?).cloned()),
            Expected::Golden(golden) => golden.get(name, graph.get(graph.find(name)?)?.shape),
        }
    };
    let mut layers = Vec::new();
    for layer in &computed.layers {
        let Some(want) = want(&layer.value)? else {
            continue;
        };
        let difference = difference(&want, &layer.tensor)?;
        layers.push(ComparedLayer {
            name: layer.name.clone(),
            value: layer.value.clone(),
            kernel: layer.kernel,
            max_abs: difference.max_abs,
            max_rel: difference.max_rel,
            cosine: difference.cosine,
            within: relative(&difference) <= tolerances.relative,
        });
    }
    if let Expected::Golden(golden) = expected {
        report_unused(golden, &computed.layers)?;
    }
    // A network without a classifier outputs its features.
    let last = graph.value_of(Role::Logits);
    let last = last.or_else(|_| graph.value_of(Role::Features))?;
    let logits = want(&last.name)?;
    let classes = last.shape.c * last.shape.h * last.shape.w;
    let logits = logits
        .map(|want| judge_logits(&want, &computed.logits, classes, tolerances))
        .transpose()?;
    let first_outside = layers.iter().find(|layer| !layer.within);
    let first_outside = first_outside.map(|layer| layer.name.clone());
    let logits_within = logits.as_ref().is_none_or(|logits| logits.within);
    Ok(Report {
        schema_version: SCHEMA_VERSION,
        adapter: device.info(),
        model: network.info(),
        within: first_outside.is_none() && logits_within,
        first_outside,
        logits,
        layers,
    })
}

/// Reports tensors of a golden file that were compared with nothing, lest they pass for correct.
fn report_unused(golden: &Golden, layers: &[ComputedLayer]) -> Result<(), Failure> {
    let is_used = |name: &String| layers.iter().any(|layer| layer.value == **name);
    let unused: Vec<&String> = golden.values.keys().filter(|name| !is_used(name)).collect();
    if unused.len() == golden.values.len() {
        return Err(Failure::runtime(
            "no tensor of the golden file has the name of a value; `resnet inspect` lists them",
        ));
    }
    for name in unused {
        log::warn!(
            "'{name}' of the golden file is not a value of the fused network and was not compared"
        );
    }
    Ok(())
}

pub(crate) fn difference(want: &Tensor, got: &Tensor) -> Result<Difference, Failure> {
    let exact = Tolerance {
        atol: 0.0,
        rtol: 0.0,
    };
    Ok(Difference::between(want, got, exact)?)
}

/// The relative difference; if only zeros are expected, the absolute one.
pub(crate) fn relative(difference: &Difference) -> f32 {
    if difference.max_rel == 0.0 {
        difference.max_abs
    } else {
        difference.max_rel
    }
}

fn judge_logits(
    want: &Tensor,
    got: &Tensor,
    classes: usize,
    tolerances: Tolerances,
) -> Result<Logits, Failure> {
    let difference = difference(want, got)?;
    let images = want.data().chunks(classes).zip(got.data().chunks(classes));
    let top5_equal = images
        .into_iter()
        .all(|(want, got)| top_k(want, BEST) == top_k(got, BEST));
    Ok(Logits {
        max_abs: difference.max_abs,
        max_rel: difference.max_rel,
        cosine: difference.cosine,
        top5_equal,
        // A NaN is never within the tolerance.
        within: difference.max_abs <= tolerances.logit
            && relative(&difference) <= tolerances.relative
            && top5_equal,
    })
}

fn print(report: &Report, format: Format) -> Result<(), Failure> {
    let mut out = Out::new();
    if format == Format::Json {
        out.json(report)?;
        return out.flush();
    }
    let header = "layer, kernel, within, max abs, max rel, cosine";
    let mut table = Table::new(3, header);
    for layer in &report.layers {
        table.row([
            layer.name.clone(),
            layer.kernel.to_owned(),
            if layer.within { "yes" } else { "NO" }.to_owned(),
            format!("{:.2e}", layer.max_abs),
            format!("{:.2e}", layer.max_rel),
            format!("{:.9}", layer.cosine),
        ]);
    }
    out.table(&table, format)?;
    if format == Format::Text {
        out.line(format_args!(
            "\n{} on {} ({})",
            report.model.name, report.adapter.name, report.adapter.backend
        ))?;
        if let Some(logits) = &report.logits {
            out.line(format_args!(
                "logits: max abs {:.2e}, max rel {:.2e}, five best classes {}",
                logits.max_abs,
                logits.max_rel,
                if logits.top5_equal {
                    "equal"
                } else {
                    "DIFFERENT"
                }
            ))?;
        }
    }
    out.flush()
}

fn verdict(report: &Report, tolerances: Tolerances) -> Result<(), Failure> {
    if report.within {
        return Ok(());
    }
    if let Some(layer) = report.layers.iter().find(|layer| !layer.within) {
        return Err(Failure::outside(format!(
            "layer '{}' ({}) is the first outside the tolerance: max abs {:.2e}, max rel {:.2e}, \
             allowed {:.2e}",
            layer.name, layer.kernel, layer.max_abs, layer.max_rel, tolerances.relative
        )));
    }
    let logits = report.logits.as_ref().filter(|logits| !logits.within);
    Err(Failure::outside(logits.map_or_else(String::new, |logits| {
        let best = if logits.top5_equal { "" } else { ", and their five best classes differ" };
        format!(
            "the logits are outside the tolerance: max abs {:.2e}, allowed {:.2e}, max rel {:.2e}, \
             allowed {:.2e}{best}",
            logits.max_abs, tolerances.logit, logits.max_rel, tolerances.relative
        )
    })))
}
