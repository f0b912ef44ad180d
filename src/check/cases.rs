//! The cases: one for each kind of layer, and first of all one for pixels.
//!
//! Each is a graph of the layer alone on an image of a few pixels, computed by the kernel and tile that the
//! network's plan chose for it.

use std::collections::BTreeSet;

use crate::error::Error;
use crate::gpu::Session;
use crate::graph::{Conv2d, GlobalAvgPool, Graph, Linear, Node, Op, Relu, ValueId, Window};
use crate::internals::noise::Noise;
use crate::kernels::textures::{image_to_tensor_texture, tensor_to_texture, texture_to_tensor};
use crate::kernels::{image_to_tensor, narrow, widen};
use crate::plan::{Candidate, ConvShape, InputFormat, Plan, PlanOptions, Step, projection_of};
use crate::reference;
use crate::tensor::{Shape, Tensor};

/// The largest rows, columns and images of a case: odd, not square, and more than one image. The columns are
/// still odd behind a stride of two.
const SMALL: Shape = Shape::new(2, 0, 7, 9);

/// Channels of the input and of the result that leave something over for every tile.
const FEW: [usize; 2] = [36, 68];

/// How many channels a case has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Channels {
    /// Those of the layer, with its parameters.
    All,
    /// Few, with made-up parameters, where the same kernel computes that.
    Few,
}

/// A kind of layer on a small image.
#[derive(Clone, Debug)]
pub struct Case {
    /// What distinguishes it from other kinds.
    pub kind: String,
    /// The first layer of the kind.
    pub layer: String,
    /// The layer alone.
    pub graph: Graph,
    /// The kernel, if the layer is a convolution.
    pub choice: Option<(ConvShape, Candidate)>,
    /// The form of its input.
    pub format: InputFormat,
}

impl Case {
    /// The options for planning the case as the network is planned.
    pub fn options(&self, network: &PlanOptions) -> PlanOptions {
        let options = network.clone().input(self.format);
        options.choices(self.choice.into_iter().collect())
    }

    /// The result by the reference.
    ///
    /// # Errors
    /// Those of the reference.
    pub fn expected(&self, x: &Tensor) -> Result<Tensor, Error> {
        let activations = reference::run(&self.graph, std::slice::from_ref(x))?;
        let output = self.graph.outputs().first();
        let want = output.and_then(|&id| activations.get(id));
        want.cloned().ok_or_else(|| Error::UnknownValue {
            name: self.layer.clone(),
            known: String::new(),
        })
    }
}

/// Bytes without any pattern that would survive a wrong order.
pub(super) fn pixels(shape: Shape) -> Vec<u8> {
    let bytes = (0u32..).map(|i| {
        let [byte, ..] = i.wrapping_mul(0x9E37_79B1).to_be_bytes();
        byte
    });
    bytes.take(shape.pixels() * 4).collect()
}

/// Runs a plan on what it takes, pixels or noise; returns that as a tensor, and the results.
///
/// # Errors
/// Those of the device.
pub fn run_on_noise(session: &Session, plan: &Plan) -> Result<(Tensor, Vec<Tensor>), Error> {
    let shape = plan.input_shape();
    if let InputFormat::Rgba8(rules) = plan.input_format() {
        let rgba = pixels(shape);
        let x = reference::image_to_tensor(&rgba, shape, &rules.normalization())?;
        return Ok((x, session.run_pixels(&rgba)?));
    }
    let x = Noise::new(1).tensor(&shape.dims());
    let got = session.run(&x)?;
    Ok((x, got))
}

/// Whether a kernel only brings data into the form that another one takes.
pub(super) fn is_conversion(kernel: &str) -> bool {
    [
        &tensor_to_texture::KERNEL,
        &texture_to_tensor::KERNEL,
        &image_to_tensor_texture::KERNEL,
        &image_to_tensor::KERNEL,
        &narrow::KERNEL,
        &widen::KERNEL,
    ]
    .iter()
    .any(|conversion| conversion.name == kernel)
}

/// One case for each kind of layer of a plan.
///
/// # Errors
/// Those of the graph.
pub fn cases(
    graph: &Graph,
    plan: &Plan,
    options: &PlanOptions,
    channels: Channels,
) -> Result<Vec<Case>, Error> {
    let mut kinds = BTreeSet::new();
    let mut cases = Vec::new();
    for node in graph.nodes() {
        let steps = || plan.steps().iter().filter(|s| s.node == node.name);
        let candidate = steps().find_map(|step| step.choice);
        let Some(last) = steps().next_back() else {
            // It only renames a value.
            continue;
        };
        let is_first = graph.inputs().contains(&node.inputs[0]);
        let kind = kind(graph, node, last, is_first)?;
        if !kinds.insert(kind.clone()) {
            continue;
        }
        let case = |small: Graph| {
            let mut nodes = small.nodes().iter().rev();
            let shape = nodes.find_map(|node| ConvShape::of(&small, node));
            Case {
                kind: kind.clone(),
                layer: node.name.clone(),
                choice: shape.zip(candidate),
                // In front of a folded projection is another layer.
                format: if is_first && !candidate.is_some_and(|c| c.folds()) {
                    plan.input_format()
                } else {
                    InputFormat::Tensor
                },
                graph: small,
            }
        };
        let few = (channels == Channels::Few).then(|| few_channels(node, graph));
        let folded = projection_of(graph, node).filter(|_| candidate.is_some_and(|c| c.folds()));
        let few = few.flatten().map(|op| match folded {
            Some(projection) => projected_graph(graph, projection, node, Some(op)),
            None => small_graph(graph, node, SMALL, Some(op)),
        });
        let few = few.transpose()?.map(&case);
        // Some ways to compute a convolution are for many channels only.
        let same = |few: &Case| {
            let plan = Plan::new(&few.graph, &few.options(options));
            plan.is_ok_and(|plan| plan.steps().iter().any(|step| step.choice == candidate))
        };
        cases.push(match few.filter(same) {
            Some(few) => few,
            None => case(match folded {
                Some(projection) => projected_graph(graph, projection, node, None)?,
                None => small_graph(graph, node, SMALL, None)
                    // Some layers have a size of their own.
                    .or_else(|_| {
                        small_graph(graph, node, graph.get(node.inputs[0])?.shape, None)
                    })?,
            }),
        });
    }
    Ok(cases)
}

/// What distinguishes kinds of layers: kernels and settings, but neither parameters nor sizes.
fn kind(graph: &Graph, node: &Node, last: &Step, is_first: bool) -> Result<String, Error> {
    let first = if is_first { "first " } else { "" };
    let folded = last.choice.is_some_and(|choice| choice.folds());
    let residual = match projection_of(graph, node).filter(|_| folded) {
        Some((_, projection)) => format!("projected {:?}", projection.stride),
        None => (node.inputs.len() > 1).to_string(),
    };
    let kind = match node.op {
        Op::Conv2d(conv) => {
            let Conv2d {
                stride,
                padding,
                dilation,
                relu,
                ..
            } = conv;
            let window = &graph.get_param(conv.weight)?.tensor.dims()[2..];
            let choice = last
                .choice
                .map_or_else(String::new, |choice| choice.to_string());
            format!("{choice} {window:?} {stride:?} {padding:?} {dilation:?} {relu} {residual}")
        }
        Op::BatchNorm(norm) => format!("batch norm {}", norm.relu),
        Op::GroupNorm(norm) => format!("group norm {}", norm.groups),
        Op::ChannelConv(_) => "channel conv".to_owned(),
        Op::AttentionPool(_) => "attention pool".to_owned(),
        Op::Linear(_) => "linear".to_owned(),
        Op::ClassGradient(_) => "class gradient".to_owned(),
        other => format!("{other:?}"),
    };
    Ok(format!("{first}{}: {kind}", last.launch.kernel.name))
}

/// The parameters of a layer with few channels: sizes and a scale that keeps results near one.
enum Few {
    Conv2d { conv: Conv2d, dims: [usize; 4] },
    Linear { has_bias: bool, dims: [usize; 2] },
}

fn few_channels(node: &Node, graph: &Graph) -> Option<Few> {
    let fewer = |sizes: [usize; 2]| [sizes[0].min(FEW[0]), sizes[1].min(FEW[1])];
    match node.op {
        Op::Conv2d(conv) if conv.groups == 1 => {
            let &[out_c, in_c, h, w] = graph.tensor(conv.weight).dims() else {
                return None;
            };
            let [in_c, out_c] = fewer([in_c, out_c]);
            let dims = [out_c, in_c, h, w];
            Some(Few::Conv2d { conv, dims })
        }
        Op::Linear(layer) => {
            let &[out_c, in_c] = graph.tensor(layer.weight).dims() else {
                return None;
            };
            let [in_c, out_c] = fewer([in_c, out_c]);
            Some(Few::Linear {
                has_bias: layer.bias.is_some(),
                dims: [out_c, in_c],
            })
        }
        _ => None,
    }
}

impl Few {
    fn in_channels(&self) -> usize {
        match self {
            Self::Conv2d { dims, .. } => dims[1],
            Self::Linear { dims, .. } => dims[1],
        }
    }

    fn add_to(&self, small: &mut Graph) -> Op {
        let mut noise = Noise::new(2);
        let mut param = |small: &mut Graph, name: &str, dims: &[usize]| {
            small.param(name, made_up(&mut noise, dims))
        };
        match self {
            Self::Conv2d { conv, dims } => {
                let weight = param(small, "weight", dims);
                let bias = conv.bias.map(|_| param(small, "bias", &dims[..1]));
                Op::Conv2d(Conv2d {
                    weight,
                    bias,
                    ..*conv
                })
            }
            Self::Linear { has_bias, dims } => {
                let weight = param(small, "weight", dims);
                let bias = has_bias.then(|| param(small, "bias", &dims[..1]));
                Op::Linear(Linear { weight, bias })
            }
        }
    }
}

/// A parameter of these dimensions, scaled so that results are near one.
fn made_up(noise: &mut Noise, dims: &[usize]) -> Tensor {
    let terms: usize = dims[1..].iter().product();
    let scale = 1.0 / (terms as f32).sqrt();
    Tensor::from_fn(dims, |_| noise.scalar() * scale)
}

/// A graph of the layer alone, on a small image. A second input is a layer like it, or the first input again.
fn small_graph(graph: &Graph, node: &Node, most: Shape, few: Option<Few>) -> Result<Graph, Error> {
    let mut small = Graph::new();
    let shape = graph.get(node.inputs[0])?.shape;
    let [least_h, least_w] = least_sides(graph, node)?;
    let shape = Shape {
        n: most.n,
        c: few.as_ref().map_or(shape.c, Few::in_channels),
        h: shape.h.min(most.h.max(least_h)),
        w: shape.w.min(most.w.max(least_w)),
    };
    let input = small.input("input", shape)?;
    let op = match few {
        Some(few) => few.add_to(&mut small),
        None => small.adopt(graph, &node.op)?,
    };
    let mut inputs = vec![input];
    if node.inputs.len() > 1 {
        let is_vector =
            graph.get(node.inputs[1])?.shape.pixels() == graph.get(node.inputs[0])?.shape.n;
        inputs.push(second_input(&mut small, &op, input, is_vector)?);
    }
    let output = small.add(&node.name, op, &inputs)?;
    small.mark_output(output)?;
    Ok(small)
}

/// A graph of a convolution and its projection on a small image, behind a layer that makes the convolution's own
/// input of the projection's.
fn projected_graph(
    graph: &Graph,
    (producer, projection): (&Node, &Conv2d),
    node: &Node,
    few: Option<Few>,
) -> Result<Graph, Error> {
    let mut small = Graph::new();
    let mut noise = Noise::new(3);
    let [own_c, out_c] = match &few {
        Some(Few::Conv2d { dims, .. }) => [dims[1], dims[0]],
        _ => [node.inputs[0], node.output].map(|value| graph.shape(value).c),
    };
    let (input, stride) = (graph.shape(producer.inputs[0]), projection.stride);
    let shape = Shape {
        n: SMALL.n,
        c: match few {
            Some(_) => input.c.min(FEW[0]),
            None => input.c,
        },
        h: input.h.min(SMALL.h),
        w: input.w.min(SMALL.w),
    };
    let input = small.input("input", shape)?;
    let mut made_up = |small: &mut Graph, name: &str, dims: &[usize]| {
        small.param(name, made_up(&mut noise, dims))
    };
    let before = Conv2d {
        stride,
        relu: true,
        ..Conv2d::new(made_up(&mut small, "weight", &[own_c, shape.c, 1, 1]))
    };
    let before = small.add("before", Op::Conv2d(before), &[input])?;
    let projected = match &few {
        Some(_) => Op::Conv2d(Conv2d {
            stride,
            ..Conv2d::new(made_up(&mut small, "weight", &[out_c, shape.c, 1, 1]))
                .bias(Some(made_up(&mut small, "bias", &[out_c])))
        }),
        None => small.adopt(graph, &producer.op)?,
    };
    let projected = small.add("projection", projected, &[input])?;
    let op = match few {
        Some(few) => few.add_to(&mut small),
        None => small.adopt(graph, &node.op)?,
    };
    let output = small.add(&node.name, op, &[before, projected])?;
    small.mark_output(output)?;
    Ok(small)
}

fn second_input(
    small: &mut Graph,
    op: &Op,
    input: ValueId,
    is_vector: bool,
) -> Result<ValueId, Error> {
    match *op {
        Op::Conv2d(conv) => {
            // With a ReLU it is no projection.
            let other = Conv2d { relu: true, ..conv };
            small.add("residual", Op::Conv2d(other), &[input])
        }
        _ if is_vector => small.add("vector", Op::GlobalAvgPool(GlobalAvgPool), &[input]),
        _ => small.add("residual", Op::Relu(Relu), &[input]),
    }
}

/// The rows and columns that the window covers beyond the padding.
fn least_sides(graph: &Graph, node: &Node) -> Result<[usize; 2], Error> {
    let window = graph.window(node)?.unwrap_or(Window::square(1, 1));
    let Window {
        kernel, padding, ..
    } = window;
    Ok([
        kernel[0].saturating_sub(padding.top + padding.bottom),
        kernel[1].saturating_sub(padding.left + padding.right),
    ])
}
