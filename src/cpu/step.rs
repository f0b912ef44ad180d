//! One operation of a graph, prepared for running.

use std::sync::Arc;

use pulp::Arch;

use super::conv2d::{Geometry, PackedConv};
use super::elementwise::{self, BatchStatistics, ScaleShift};
use super::layout::{Layout, Line};
use super::pool::{self, BlurredPool, Pool, WindowPool};
use super::resize::Resized;
use super::vector;
use super::winograd::Winograd;
use crate::error::Error;
use crate::graph::{
    Add, AvgPool, BlurPool, Conv2d, Flatten, FlattenOrder, Graph, Linear, MaxPool, Node, Op,
    Resize, Statistics, ValueId, Window,
};
use crate::reference::run_node;
use crate::tensor::{Shape, Tensor};

/// A prepared operation.
#[derive(Debug)]
pub(super) enum Step {
    /// A convolution, or a linear layer as a convolution of a 1×1 image.
    Conv(PackedConv),
    Winograd(Winograd),
    BatchNorm {
        norm: ScaleShift,
        plane: usize,
    },
    BatchNormOfBatch(BatchStatistics),
    Relu,
    Add {
        relu: bool,
    },
    Pool(WindowPool),
    BlurPool(BlurredPool),
    Resize(Resized),
    GlobalAvgPool(Layout),
    Gate(Layout),
    Flatten {
        order: FlattenOrder,
        x: Layout,
    },
    Softmax(Layout),
    /// Operations too rare and too small to be worth optimising.
    Plain(Box<Plain>),
}

/// A node that the reference implementation computes.
#[derive(Debug)]
pub(super) struct Plain {
    node: Node,
    graph: Arc<Graph>,
}

impl Plain {
    fn run<'a>(&self, read: &impl Fn(usize) -> Option<&'a [Line]>, out: &mut [Line]) {
        let tensor = |(index, id): (usize, &ValueId)| {
            let shape = self.graph.shape(*id);
            let lines = read(index).expect("a graph checks the number of inputs");
            Tensor::new(&shape.dims(), Layout::new(shape).unpack(lines))
        };
        let inputs: Result<Vec<Tensor>, Error> =
            self.node.inputs.iter().enumerate().map(tensor).collect();
        let result = inputs.and_then(|inputs| {
            run_node(&self.graph, &self.node, &inputs.iter().collect::<Vec<_>>())
        });
        let result = result.expect("a graph checks the shapes");
        Layout::new(self.graph.shape(self.node.output)).pack(result.data(), out);
    }
}

/// The geometry of a convolution whose weight has these dimensions; that of a linear layer has no window.
fn geometry(weight: &[usize], conv: Conv2d, [x, out]: [Shape; 2]) -> Geometry {
    let kernel = match *weight {
        [_, _, h, w] => [h, w],
        _ => [1, 1],
    };
    Geometry {
        x,
        out,
        window: Window {
            kernel,
            stride: conv.stride,
            padding: conv.padding,
        },
        dilation: conv.dilation,
        groups: conv.groups,
        relu: conv.relu,
    }
}

impl Step {
    pub(super) fn new(graph: &Arc<Graph>, node: &Node, arch: Arch) -> Self {
        let x = graph.shape(node.inputs[0]);
        let out = graph.shape(node.output);
        let pool = |window, pool| {
            Self::Pool(WindowPool {
                window,
                pool,
                x: Layout::new(x),
                out: Layout::new(out),
            })
        };
        match node.op {
            Op::Conv2d(conv) => Self::conv(graph, conv, [x, out], arch),
            Op::Linear(Linear { weight, bias }) => {
                Self::conv(graph, Conv2d::new(weight).bias(bias), [x, out], arch)
            }
            Op::BatchNorm(norm) if norm.statistics == Statistics::Batch => {
                Self::BatchNormOfBatch(BatchStatistics::new(graph, &norm, x))
            }
            Op::BatchNorm(norm) => Self::BatchNorm {
                norm: ScaleShift::new(graph, &norm),
                plane: Layout::new(x).plane(),
            },
            Op::Relu(_) => Self::Relu,
            Op::Add(Add { relu }) => Self::Add { relu },
            Op::MaxPool(MaxPool { window, pad_value }) => pool(window, Pool::Max(pad_value)),
            Op::AvgPool(AvgPool {
                window,
                count_padding,
            }) => pool(window, Pool::Avg { count_padding }),
            Op::BlurPool(BlurPool { stride }) => Self::BlurPool(BlurredPool {
                stride,
                x: Layout::new(x),
                out: Layout::new(out),
            }),
            Op::Resize(Resize { interpolation, .. }) => {
                Self::Resize(Resized::new(interpolation, [x, out]))
            }
            Op::GlobalAvgPool(_) => Self::GlobalAvgPool(Layout::new(x)),
            Op::Gate(_) => Self::Gate(Layout::new(x)),
            Op::Flatten(Flatten { order }) => Self::Flatten {
                order,
                x: Layout::new(x),
            },
            Op::Softmax(_) => Self::Softmax(Layout::new(x)),
            Op::Sigmoid(_)
            | Op::ClassGradient(_)
            | Op::ReluGradient(_)
            | Op::AvgPoolGradient(_)
            | Op::Dilate(_)
            | Op::GroupNorm(_)
            | Op::ChannelConv(_)
            | Op::AttentionPool(_)
            | Op::ChannelDot(_) => Self::Plain(Box::new(Plain {
                node: node.clone(),
                graph: Arc::clone(graph),
            })),
        }
    }

    fn conv(graph: &Graph, conv: Conv2d, [x, out]: [Shape; 2], arch: Arch) -> Self {
        let weight = graph.tensor(conv.weight);
        let geometry = geometry(weight.dims(), conv, [x, out]);
        let bias = conv.bias.map(|id| graph.tensor(id).data());
        let weight = weight.scalars();
        if Winograd::suits(&geometry) {
            return Self::Winograd(Winograd::new(geometry, arch, &weight, bias));
        }
        Self::Conv(PackedConv::new(geometry, arch, &weight, bias))
    }

    /// The memory for the packed weights of a node, in bytes.
    pub(super) fn weight_bytes(graph: &Graph, node: &Node) -> u64 {
        let conv = match node.op {
            Op::Conv2d(conv) => conv,
            Op::Linear(Linear { weight, bias }) => Conv2d::new(weight).bias(bias),
            _ => return 0,
        };
        let dims = graph.tensor(conv.weight).dims();
        let [x, out] = [node.inputs[0], node.output].map(|id| graph.shape(id));
        let geometry = geometry(dims, conv, [x, out]);
        let times = if Winograd::suits(&geometry) {
            Winograd::GROWTH
        } else {
            geometry.weight_shape().merged()
        };
        let scalars = dims
            .iter()
            .fold(times, |product, &size| product.saturating_mul(size));
        (scalars as u64).saturating_mul(size_of::<f32>() as u64)
    }

    /// The number of scratch lines that [`Self::run`] needs.
    pub(super) fn scratch_lines(&self) -> usize {
        match self {
            Self::Conv(conv) => conv.scratch_lines(),
            Self::Winograd(winograd) => winograd.scratch_lines(),
            _ => 0,
        }
    }

    /// Computes the result except for the zero lines. `read` returns the inputs by position.
    pub(super) fn run<'a>(
        &self,
        read: &impl Fn(usize) -> Option<&'a [Line]>,
        scratch: &mut [Line],
        out: &mut [Line],
    ) {
        let x = read(0).expect("a graph checks the number of inputs");
        match self {
            Self::Conv(conv) => conv.run(x, read(1), scratch, out),
            Self::Winograd(winograd) => winograd.run(x, read(1), scratch, out),
            Self::BatchNorm { norm, plane } => norm.run(*plane, x, out),
            Self::BatchNormOfBatch(norm) => norm.run(x, out),
            Self::Relu => elementwise::relu(x, out),
            Self::Add { relu } => {
                let residual = read(1).expect("a graph checks the number of inputs");
                elementwise::add(x, residual, *relu, out);
            }
            Self::Pool(pool) => pool.run(x, out),
            Self::BlurPool(pool) => pool.run(x, out),
            Self::Resize(resized) => resized.run(x, out),
            Self::GlobalAvgPool(layout) => pool::global_avg(*layout, x, out),
            Self::Gate(layout) => {
                let gates = read(1).expect("a graph checks the number of inputs");
                elementwise::gate(*layout, x, gates, out);
            }
            Self::Flatten { order, x: layout } => vector::flatten(*order, *layout, x, out),
            Self::Softmax(layout) => vector::softmax(*layout, x, out),
            Self::Plain(plain) => plain.run(read, out),
        }
    }
}
