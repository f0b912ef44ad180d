//! `resnet inspect`: the network in a weight file, layer by layer, and how it would run.

use resnet_run::{Inspection, Network};
use resnet_wgpu::internals;
use resnet_wgpu::internals::plan::Candidate;
use resnet_wgpu::plan::{Capabilities, InputFormat, KernelPath, Plan, PlanOptions};
use serde::Serialize;
use twox_hash::xxhash3_128;

use crate::args::InspectArgs;
use crate::failure::Failure;
use crate::network;
use crate::output::{Format, Out, SCHEMA_VERSION, Table, bytes, grouped, hex, sizes};

#[derive(Serialize)]
struct Report {
    schema_version: u32,
    #[serde(flatten)]
    inspection: Inspection,
    #[serde(skip_serializing_if = "Option::is_none")]
    plan: Option<PlanReport>,
}

/// The figures of a plan, which `bench` shows too.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct PlanInfo {
    /// Where its convolutions keep their feature maps.
    path: String,
    /// XXH3-128 of the way in which each step is computed: kernel, tile, splits.
    choices_hash: String,
    dispatches: usize,
    pipelines: usize,
    activation_bytes: u64,
    activation_lower_bound_bytes: u64,
    weight_bytes: u64,
}

impl PlanInfo {
    pub(crate) fn new(plan: &Plan) -> Self {
        let mut choices = plan.steps().iter().map(|step| step.choice);
        let path = if choices.any(|choice| matches!(choice, Some(Candidate::Textures(_)))) {
            KernelPath::Textures
        } else {
            KernelPath::Buffers
        };
        Self {
            path: path.to_string(),
            choices_hash: hex(choices_hash(plan)),
            dispatches: plan.steps().len(),
            pipelines: plan.distinct_pipelines(),
            activation_bytes: plan.activation_bytes(),
            activation_lower_bound_bytes: plan.activation_lower_bound_bytes(),
            weight_bytes: plan.weight_bytes(),
        }
    }
}

/// Changes with the kernels and tiles of any step, as `tune` and the flags choose them.
fn choices_hash(plan: &Plan) -> u128 {
    let mut hasher = xxhash3_128::Hasher::new();
    for step in plan.steps() {
        let choice = step
            .choice
            .map_or_else(String::new, |choice| choice.to_string());
        for text in [&step.node, step.launch.kernel.name, &choice] {
            hasher.write(text.as_bytes());
            hasher.write(&[0]);
        }
    }
    hasher.finish_128()
}

impl std::fmt::Display for PlanInfo {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "{} dispatches, {} pipelines, weights {}, activations {} (at least {})",
            self.dispatches,
            self.pipelines,
            bytes(self.weight_bytes),
            bytes(self.activation_bytes),
            bytes(self.activation_lower_bound_bytes)
        )
    }
}

#[derive(Serialize)]
struct PlanReport {
    /// Which device it is for.
    device: &'static str,
    #[serde(flatten)]
    info: PlanInfo,
    steps: Vec<Step>,
}

#[derive(Serialize)]
struct Step {
    node: String,
    kernel: &'static str,
    value: String,
    output: [usize; 4],
    workgroups: [u64; 3],
    macs: u64,
    bytes: u64,
}

pub(crate) fn run(args: &InspectArgs) -> Result<(), Failure> {
    let network = network::load(&args.output.of(&args.network()), args.batch.count)?;
    let labels = network.labels(args.labels.labels.as_deref())?;
    let plan = args.plan.then(|| plan_of(&network)).transpose()?;
    let report = Report {
        schema_version: SCHEMA_VERSION,
        inspection: network.inspection(labels.as_ref())?,
        plan: plan.as_ref().map(|plan| PlanReport {
            device: PLANNED_FOR,
            info: PlanInfo::new(plan),
            steps: plan.steps().iter().map(step).collect(),
        }),
    };
    let mut out = Out::new();
    if args.format == Format::Json {
        out.json(&report)?;
    } else {
        print(&report.inspection, &mut out)?;
        if let Some(plan) = plan {
            out.line(format_args!(
                "\nplan, fusion {}, for {PLANNED_FOR}",
                network.fusion
            ))?;
            out.line(plan.to_string().trim_end())?;
            out.line(PlanInfo::new(&plan))?;
        }
    }
    out.flush()
}

/// The device of the plan, which no adapter is asked about.
const PLANNED_FOR: &str = "a device with WebGPU's default features and buffers of any size, not for an adapter of \
                           this machine, whose kernels and tiles may be others";

/// The plan that `classify` would use on a device with large enough buffers.
fn plan_of(network: &Network) -> Result<Plan, Failure> {
    let mut capabilities = Capabilities::default();
    capabilities.storage_binding_bytes = u64::MAX;
    capabilities.buffer_bytes = u64::MAX;
    let options = PlanOptions::new(capabilities).input(InputFormat::of(network.model.preprocess));
    Ok(Plan::new(&network.optimized()?, &options)?)
}

fn print(report: &Inspection, out: &mut Out) -> Result<(), Failure> {
    let model = &report.model;
    let [h, w] = model.size;
    out.line(format_args!(
        "{}: {}, {} parameters, {:.3} GMACs for an image of {h}×{w}",
        model.name,
        model.classes_in_words(),
        grouped(model.parameters as u64),
        model.macs_per_image as f64 * 1e-9,
    ))?;
    out.line("")?;
    for kernel in &report.wrong_kernels {
        out.line(kernel)?;
    }
    for decision in &report.decisions {
        out.line(decision)?;
    }
    let names = match &report.labels {
        Some(labels) => {
            let shown: Vec<&str> = labels.iter().take(6).map(String::as_str).collect();
            let more = if labels.len() > shown.len() {
                ", …"
            } else {
                ""
            };
            format!("{}{more}", shown.join(", "))
        }
        None => "none: classes are shown by their numbers".to_owned(),
    };
    out.line(format_args!("{:<14} {names}", "class names"))?;
    out.line("")?;
    let header = "layer, op, detail, output, parameters, MMACs";
    let mut table = Table::new(4, header);
    for layer in &report.layers {
        let count = |number: u64, text: String| if number == 0 { String::new() } else { text };
        table.row([
            layer.name.clone(),
            layer.op.to_owned(),
            layer.detail.clone(),
            sizes(&layer.output),
            count(layer.parameters as u64, grouped(layer.parameters as u64)),
            count(layer.macs, format!("{:.2}", layer.macs as f64 * 1e-6)),
        ]);
    }
    out.table(&table, Format::Text)
}

fn step(step: &internals::plan::Step) -> Step {
    Step {
        node: step.node.clone(),
        kernel: step.launch.kernel.name,
        value: step.value.clone(),
        output: step.shape.dims(),
        workgroups: step.launch.workgroups,
        macs: step.macs,
        bytes: step.bytes,
    }
}
