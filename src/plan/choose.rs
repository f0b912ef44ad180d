//! Which kernel runs a node: one table, read top to bottom.

use super::Constant;
use crate::graph::{BatchNorm, Conv2d, Graph, Node, Op, ParamId, ValueId};
use crate::kernels::conv2d::{Geometry, Residual, Tile};
use crate::kernels::{
    Launch, Packing, avg_pool, batch_norm, conv2d_grouped, conv2d_pointwise, conv2d_tiled, flatten,
    global_avg_pool, linear, max_pool, relu, residual_add, softmax,
};
use crate::tensor::{LANES, Tensor};

/// One buffer of a launch, in the order of the kernel's bindings.
#[derive(Clone, Copy, Debug)]
pub(super) enum Operand {
    /// An input of the node.
    Input(usize),
    /// A constant of the choice.
    Constant(usize),
    /// The node's result.
    Output,
}

/// A launch and what to bind to it.
pub(super) struct Choice {
    pub(super) launch: Launch,
    /// Role of the parameter, for labels, and the parameter.
    pub(super) constants: Vec<(&'static str, Constant)>,
    pub(super) operands: Vec<Operand>,
}

/// The input whose buffer the result may take over, element by element.
pub(super) fn in_place_input(node: &Node) -> Option<ValueId> {
    match node.op {
        Op::Conv2d(_) => node.inputs.get(1).copied(),
        _ => None,
    }
}

/// 64 pixels × 64 channels × 16, 8 × 8 per thread: 64 threads, 8 KiB of workgroup memory. 85 % of
/// the hot block are multiply-adds on RDNA2, eight waves per SIMD.
const TILE: Tile = Tile {
    px: 64,
    co: 64,
    k: 16,
    per_thread_px: 8,
    per_thread_co: 8,
};

/// The kernel of a node; `in_place` says that the result shares its buffer with [`in_place_input`].
pub(super) fn kernel_for(graph: &Graph, node: &Node, in_place: bool) -> Choice {
    let x = graph.shape(node.inputs[0]);
    let y = graph.shape(node.output);
    let unary = |launch| Choice {
        launch,
        constants: vec![],
        operands: vec![Operand::Input(0), Operand::Output],
    };
    match node.op {
        Op::Conv2d(conv) => conv2d(graph, node, &conv, in_place),
        Op::BatchNorm(norm) => {
            let tensors =
                |params: &[ParamId]| params.iter().map(|&p| graph.tensor(p).clone()).collect();
            let BatchNorm {
                gamma,
                beta,
                mean,
                variance,
                epsilon,
                relu,
            } = norm;
            let scale = Constant {
                packing: Packing::BatchNormScale(epsilon.into()),
                tensors: tensors(&[gamma, variance]),
            };
            let shift = Constant {
                packing: Packing::BatchNormShift(epsilon.into()),
                tensors: tensors(&[gamma, beta, mean, variance]),
            };
            Choice {
                launch: batch_norm::launch(x, relu),
                constants: vec![("scale", scale), ("shift", shift)],
                operands: vec![
                    Operand::Input(0),
                    Operand::Constant(0),
                    Operand::Constant(1),
                    Operand::Output,
                ],
            }
        }
        Op::Relu => unary(relu::launch(x)),
        Op::Add { relu } => Choice {
            launch: residual_add::launch(x, relu),
            constants: vec![],
            operands: vec![Operand::Input(0), Operand::Input(1), Operand::Output],
        },
        Op::MaxPool { window, pad_value } => unary(max_pool::launch(x, y, &window, pad_value)),
        Op::AvgPool {
            window,
            count_padding,
        } => unary(avg_pool::launch(x, y, &window, count_padding)),
        Op::GlobalAvgPool => unary(global_avg_pool::launch(x)),
        Op::Flatten { order } => unary(flatten::launch(x, order)),
        Op::Linear { weight, bias } => Choice {
            launch: linear::launch(x, y),
            constants: vec![
                (
                    "weight",
                    Constant {
                        packing: Packing::Linear,
                        tensors: vec![graph.tensor(weight).clone()],
                    },
                ),
                ("bias", vector(graph, bias, y.c, LANES)),
            ],
            operands: vec![
                Operand::Input(0),
                Operand::Constant(0),
                Operand::Constant(1),
                Operand::Output,
            ],
        },
        Op::Softmax => unary(softmax::launch(x)),
    }
}

fn conv2d(graph: &Graph, node: &Node, conv: &Conv2d, in_place: bool) -> Choice {
    let weight: &Tensor = graph.tensor(conv.weight);
    let has_residual = node.inputs.len() > 1;
    let geometry = Geometry {
        input: graph.shape(node.inputs[0]),
        output: graph.shape(node.output),
        kernel: [weight.dims()[2], weight.dims()[3]],
        stride: conv.stride,
        padding: conv.padding,
        groups: conv.groups,
        relu: conv.relu,
        residual: match (has_residual, in_place) {
            (false, _) => Residual::None,
            (true, false) => Residual::Buffer,
            (true, true) => Residual::InPlace,
        },
    };
    let (launch, packing, multiple) = if geometry.groups > 1 {
        // Tiles would multiply mostly zeros: a group of ResNeXt-50 has 4 to 32 channels.
        (
            conv2d_grouped::launch(&geometry),
            Packing::ConvGrouped,
            LANES,
        )
    } else if geometry.is_pointwise() {
        (
            conv2d_pointwise::launch(&geometry, TILE),
            Packing::ConvTiles(TILE),
            TILE.co as usize,
        )
    } else {
        (
            conv2d_tiled::launch(&geometry, TILE),
            Packing::ConvTiles(TILE),
            TILE.co as usize,
        )
    };
    let weight = Constant {
        packing,
        tensors: vec![weight.clone()],
    };
    let residual = match geometry.residual {
        Residual::Buffer => Operand::Input(1),
        // The binding must be filled; the shader does not read it.
        Residual::None | Residual::InPlace => Operand::Constant(1),
    };
    Choice {
        launch,
        constants: vec![
            ("weight", weight),
            (
                "bias",
                vector(graph, conv.bias, geometry.output.c, multiple),
            ),
        ],
        operands: vec![
            Operand::Input(0),
            Operand::Constant(0),
            Operand::Constant(1),
            residual,
            Operand::Output,
        ],
    }
}

/// A per-channel vector, zeros when there is none.
fn vector(graph: &Graph, param: Option<ParamId>, len: usize, multiple: usize) -> Constant {
    Constant {
        packing: Packing::Vector { len, multiple },
        tensors: param.map(|p| graph.tensor(p).clone()).into_iter().collect(),
    }
}
