//! `resnet selftest`: every kernel that a network uses, on a small case, against the reference.
//!
//! Each kind of layer becomes a graph of its own, with the same parameters and channels on an image
//! of a few pixels, and runs with the kernel and tile that the network's plan chose for it.

use std::collections::BTreeSet;

use resnet_wgpu::gpu::Session;
use resnet_wgpu::graph::{Graph, ValueId};
use resnet_wgpu::internals::compare::{Difference, Tolerance};
use resnet_wgpu::internals::graph::{Conv2d, Node, Op, Relu, Window};
use resnet_wgpu::internals::noise::Noise;
use resnet_wgpu::internals::plan::{Candidate, ConvShape};
use resnet_wgpu::internals::reference;
use resnet_wgpu::plan::{InputFormat, Plan};
use resnet_wgpu::tensor::{Shape, Tensor};
use serde::Serialize;

use crate::args::SelftestArgs;
use crate::compare::relative;
use crate::device::{AdapterInfo, Device, Gpu};
use crate::failure::Failure;
use crate::network::{ModelInfo, Network};
use crate::output::{SCHEMA_VERSION, Table, print, sizes};
use crate::tolerances::Tolerances;

/// Upper limits for height, width and batch: odd, not square, and more than one image.
const SMALL: Shape = Shape::new(2, 0, 9, 7);

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

/// A kind of layer on a small image.
struct Case {
    layer: String,
    graph: Graph,
    /// The kernel, if the layer is a convolution.
    choice: Option<(ConvShape, Candidate)>,
    format: InputFormat,
}

pub(crate) fn run(args: &SelftestArgs) -> Result<(), Failure> {
    let device = Device::open(&args.run.device)?;
    let Device::Gpu(gpu) = &device else {
        return Err(Failure::adapter(
            "`resnet selftest` tests the kernels of an adapter, see `resnet devices`; for the CPU \
             there is `resnet compare --cpu`",
        ));
    };
    let network = Network::load(&args.run.network, 1)?;
    let graph = network.optimized()?;
    let format = InputFormat::Rgba8(network.model.preprocess);
    let plan = Plan::new(&graph, &gpu.options(&graph, format))?;
    let mut untested: BTreeSet<&str> = plan.steps().iter().map(|s| s.launch.kernel.name).collect();
    let mut cases = Vec::new();
    for case in cases_of(&graph, &plan, format)? {
        let outcome = case.run(gpu)?;
        for kernel in &outcome.kernels {
            untested.remove(kernel);
        }
        cases.push(outcome);
    }
    if !untested.is_empty() {
        let untested: Vec<&str> = untested.into_iter().collect();
        return Err(Failure::runtime(format!(
            "no case runs {}: a fault of this program",
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

/// One case for each kind of layer, preceded by one for pixels.
fn cases_of(graph: &Graph, plan: &Plan, pixels: InputFormat) -> Result<Vec<Case>, Failure> {
    let mut kinds = BTreeSet::new();
    let mut cases = Vec::new();
    for node in graph.nodes() {
        let mut steps = plan.steps().iter().filter(|s| s.node == node.name);
        let candidate = steps.find_map(|step| step.choice);
        let is_first = graph.inputs().contains(&node.inputs[0]);
        if !kinds.insert((kind(graph, node, candidate)?, is_first)) {
            continue;
        }
        let small = small_graph(graph, node)?;
        let mut nodes = small.nodes().iter().rev();
        let shape = nodes.find_map(|node| ConvShape::of(&small, node));
        cases.push(Case {
            layer: node.name.clone(),
            choice: shape.zip(candidate),
            format: if is_first {
                pixels
            } else {
                InputFormat::Tensor
            },
            graph: small,
        });
    }
    Ok(cases)
}

/// What distinguishes kinds of layers: everything except parameter values and image sizes.
fn kind(graph: &Graph, node: &Node, candidate: Option<Candidate>) -> Result<String, Failure> {
    let residual = node.inputs.len() > 1;
    Ok(match node.op {
        Op::Conv2d(conv) => {
            let Conv2d {
                stride,
                padding,
                dilation,
                relu,
                ..
            } = conv;
            let window = &graph.get_param(conv.weight)?.tensor.dims()[2..];
            format!(
                "{candidate:?} {window:?} {stride:?} {padding:?} {dilation:?} {relu} {residual}"
            )
        }
        Op::BatchNorm(norm) => format!("batch norm {}", norm.relu),
        Op::GroupNorm(norm) => format!("group norm {}", norm.groups),
        Op::ChannelConv(_) => "channel conv".to_owned(),
        Op::Linear(_) => "linear".to_owned(),
        other => format!("{other:?}"),
    })
}

/// A graph of the layer alone, on a small image. A second input is the ReLU of the first; for a
/// convolution, it is the convolution without the residual.
fn small_graph(graph: &Graph, node: &Node) -> Result<Graph, Failure> {
    let mut small = Graph::new();
    let shape = graph.get(node.inputs[0])?.shape;
    let [least_h, least_w] = least_sides(graph, node)?;
    let shape = Shape {
        n: SMALL.n,
        h: shape.h.min(SMALL.h.max(least_h)),
        w: shape.w.min(SMALL.w.max(least_w)),
        ..shape
    };
    let input = small.input("input", shape)?;
    let op = small.adopt(graph, &node.op)?;
    let mut inputs = vec![input];
    if node.inputs.len() > 1 {
        inputs.push(second_input(&mut small, &op, input)?);
    }
    let output = small.add(&node.name, op, &inputs)?;
    small.mark_output(output)?;
    Ok(small)
}

fn second_input(small: &mut Graph, op: &Op, input: ValueId) -> Result<ValueId, Failure> {
    Ok(match *op {
        Op::Conv2d(conv) => {
            let plain = Conv2d {
                relu: false,
                ..conv
            };
            small.add("residual", Op::Conv2d(plain), &[input])?
        }
        _ => small.add("residual", Op::Relu(Relu), &[input])?,
    })
}

/// The smallest image height and width that the layer's window accepts.
fn least_sides(graph: &Graph, node: &Node) -> Result<[usize; 2], Failure> {
    let window = graph.window(node)?.unwrap_or(Window::square(1, 1));
    let Window {
        kernel, padding, ..
    } = window;
    Ok([
        kernel[0].saturating_sub(padding.top + padding.bottom),
        kernel[1].saturating_sub(padding.left + padding.right),
    ])
}

impl Case {
    fn run(self, gpu: &Gpu) -> Result<Outcome, Failure> {
        let options = gpu
            .default_options(self.format)
            .choices(self.choice.into_iter().collect());
        let allowed = Tolerances::of(gpu.precision()).relative;
        let plan = Plan::new(&self.graph, &options)?;
        let session = Session::new(&gpu.context, &plan)?;
        let shape = plan.input_shape();
        let (x, got) = if let InputFormat::Rgba8(rules) = self.format {
            let rgba = pixels(shape);
            let x = reference::image_to_tensor(&rgba, shape, &rules.normalization())?;
            (x, session.run_pixels(&rgba)?)
        } else {
            let x = Noise::new(1).tensor(&shape.dims());
            let got = session.run(&x)?;
            (x, got)
        };
        let activations = reference::run(&self.graph, std::slice::from_ref(&x))?;
        let outputs = self.graph.outputs().iter();
        let want: Vec<&Tensor> = outputs.filter_map(|&id| activations.get(id)).collect();
        let ([want], [got]) = (&want[..], &got[..]) else {
            return Err(Failure::runtime("a case has not exactly one result"));
        };
        let everything = Tolerance {
            atol: f32::INFINITY,
            rtol: 0.0,
        };
        let difference = Difference::between(want, got, everything)?;
        let max_rel = relative(&difference);
        let steps = plan.steps().iter();
        Ok(Outcome {
            choice: steps.clone().rev().find_map(|step| step.choice),
            kernels: steps.map(|step| step.launch.kernel.name).collect(),
            layer: self.layer,
            input: shape.dims(),
            max_abs: difference.max_abs,
            max_rel,
            // Written so that a NaN is not within.
            within: max_rel <= allowed,
        })
    }
}

/// Bytes without regularities that could hide a wrong order.
fn pixels(shape: Shape) -> Vec<u8> {
    let bytes = (0u32..).map(|i| {
        let [byte, ..] = i.wrapping_mul(0x9E37_79B1).to_be_bytes();
        byte
    });
    bytes.take(shape.pixels() * 4).collect()
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
