//! `resnet selftest`: every kernel that a network uses, on a small case, against the reference.
//!
//! Each kind of layer becomes a graph of its own, with the same parameters and channels on an image
//! of a few pixels, and runs with the kernel and tile that the network's plan chose for it.

use std::collections::BTreeSet;

use resnet_run::{AdapterInfo, Device, Gpu, ModelInfo};
use resnet_wgpu::gpu::Session;
use resnet_wgpu::internals::check::{self, Case, Channels, run_on_noise};
use resnet_wgpu::internals::compare::{Difference, Tolerance};
use resnet_wgpu::internals::plan::Candidate;
use resnet_wgpu::plan::{InputFormat, Plan};
use serde::Serialize;

use crate::args::SelftestArgs;
use crate::compare::relative;
use crate::failure::Failure;
use crate::network;
use crate::output::{SCHEMA_VERSION, Table, print, sizes};
use crate::tolerances::Tolerances;

#[derive(Serialize)]
struct Report {
    schema_version: u32,
    adapter: AdapterInfo,
    model: ModelInfo,
    cases: Vec<Outcome>,
    within: bool,
}

/// The outcome of a case.
#[derive(Serialize)]
struct Outcome {
    /// The first layer of this kind.
    layer: String,
    /// Kernel and tile, if there was a choice.
    choice: Option<Candidate>,
    /// Every kernel that ran, including conversions.
    kernels: Vec<&'static str>,
    input: [usize; 4],
    max_abs: f32,
    max_rel: f32,
    within: bool,
}

pub(crate) fn run(args: &SelftestArgs) -> Result<(), Failure> {
    let device = Device::open(&args.run.device)?;
    let Device::Gpu(gpu) = &device else {
        return Err(Failure::adapter(
            "`resnet selftest` tests the kernels of an adapter, see `resnet devices`; for the CPU \
             there is `resnet compare --cpu`",
        ));
    };
    let network = network::load(&args.run.network, 1)?;
    let graph = network.optimized()?;
    let format = InputFormat::of(network.model.preprocess);
    let options = gpu.unchecked_options(&graph, format);
    let plan = Plan::new(&graph, &options)?;
    let mut untested: BTreeSet<&str> = plan.steps().iter().map(|s| s.launch.kernel.name).collect();
    let mut cases = Vec::new();
    for case in check::cases(&graph, &plan, &options, Channels::All)? {
        let outcome = run_case(&case, gpu)?;
        for kernel in &outcome.kernels {
            untested.remove(kernel);
        }
        cases.push(outcome);
    }
    if !untested.is_empty() {
        let untested: Vec<&str> = untested.into_iter().collect();
        return Err(Failure::runtime(format!(
            "no case runs {}: a bug in this program",
            untested.join(", ")
        )));
    }
    let report = Report {
        schema_version: SCHEMA_VERSION,
        adapter: device.info(),
        model: network.info(),
        within: cases.iter().all(|case| case.within),
        cases,
    };
    print(&report, args.format, |out| {
        out.table(&report.table(), args.format)
    })?;
    report.verdict(Tolerances::of(device.precision()).relative)
}

/// Runs a case on the adapter, with all channels and the network's own parameters.
fn run_case(case: &Case, gpu: &Gpu) -> Result<Outcome, Failure> {
    let options = case.options(&gpu.default_options(case.format));
    let allowed = Tolerances::of(gpu.precision()).relative;
    let plan = Plan::new(&case.graph, &options)?;
    let session = Session::new(&gpu.context, &plan)?;
    let shape = plan.input_shape();
    let (x, got) = run_on_noise(&session, &plan)?;
    let [got] = &got[..] else {
        return Err(Failure::runtime("a case does not have exactly one result"));
    };
    let everything = Tolerance {
        atol: f32::INFINITY,
        rtol: 0.0,
    };
    let difference = Difference::between(&case.expected(&x)?, got, everything)?;
    let max_rel = relative(&difference);
    let steps = plan.steps().iter();
    Ok(Outcome {
        choice: steps.clone().rev().find_map(|step| step.choice),
        kernels: steps.map(|step| step.launch.kernel.name).collect(),
        layer: case.layer.clone(),
        input: shape.dims(),
        max_abs: difference.max_abs,
        max_rel,
        // Written so that a NaN is outside.
        within: max_rel <= allowed,
    })
}

impl Report {
    fn table(&self) -> Table {
        let header = "layer, kernels, choice, input, , max abs, max rel";
        let mut table = Table::new(5, header);
        for case in &self.cases {
            let mut kernels = case.kernels.clone();
            kernels.dedup();
            table.row([
                case.layer.clone(),
                kernels.join(" "),
                case.choice.map_or_else(String::new, |c| c.to_string()),
                sizes(&case.input),
                if case.within { "ok" } else { "WRONG" }.to_owned(),
                format!("{:.2e}", case.max_abs),
                format!("{:.2e}", case.max_rel),
            ]);
        }
        table
    }

    fn verdict(&self, allowed: f32) -> Result<(), Failure> {
        let wrong: Vec<&str> = self
            .cases
            .iter()
            .filter(|case| !case.within)
            .map(|case| case.layer.as_str())
            .collect();
        if wrong.is_empty() {
            return Ok(());
        }
        Err(Failure::outside(format!(
            "{} of {} cases differ by more than {allowed:.0e} of the largest magnitude: {}",
            wrong.len(),
            self.cases.len(),
            wrong.join(", ")
        )))
    }
}
