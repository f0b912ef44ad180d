//! Which kernel runs a node other than a convolution: one table, read top to bottom.

use super::Constant;
use crate::graph::{
    Add, AvgPool, AvgPoolGradient, BatchNorm, ChannelDot, ClassGradient, Dilate, Flatten, Graph,
    Linear, MaxPool, Node, Op, ParamId, Statistics, ValueId,
};
use crate::kernels::{
    Launch, Packing, Precision, Storage, avg_pool, avg_pool_gradient, avg_pool_texture, batch_norm,
    batch_norm_of_batch, channel_dot, class_gradient, dilate, flatten, global_avg_pool,
    global_avg_pool_texture, linear, linear_texture, max_pool, max_pool_texture, relu,
    relu_gradient, relu_gradient_texture, residual_add, residual_add_texture, softmax,
};
use crate::tensor::LANES;

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

/// How a value lies in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// A buffer of single precision: what callers see.
    Single,
    /// A buffer of half precision.
    Half,
    /// A texture, of the precision of the plan.
    Texture,
}

impl Form {
    /// How many there are: the next one would have this number.
    pub(super) const COUNT: usize = 3;

    /// What holds such a value.
    pub(super) const fn storage(self) -> Storage {
        match self {
            Self::Single | Self::Half => Storage::Buffer,
            Self::Texture => Storage::Texture,
        }
    }
}

/// The form of feature maps, from the kernels that have the most to do.
pub(super) const fn form_of_maps(textures: bool, precision: Precision) -> Form {
    match (textures, precision) {
        (true, _) => Form::Texture,
        (false, Precision::F16) => Form::Half,
        (false, Precision::F32) => Form::Single,
    }
}

/// Where the kernel of a node finds its inputs and leaves its result. Vectors of one pixel have single
/// precision: they cost nothing, and are what callers want.
pub(super) const fn forms_of(node: &Node, maps: Form) -> [Form; 2] {
    match (&node.op, maps) {
        (Op::Flatten(_) | Op::Softmax(_), _) => [Form::Single; 2],
        (Op::ReluGradient(_) | Op::Add(_), Form::Texture) => [Form::Texture; 2],
        (
            Op::ClassGradient(_)
            | Op::ReluGradient(_)
            | Op::AvgPoolGradient(_)
            | Op::Dilate(_)
            | Op::ChannelDot(_),
            _,
        ) => [Form::Single; 2],
        (Op::Conv2d(conv), Form::Texture) if conv.groups > 1 => [Form::Single; 2],
        (Op::BatchNorm(_) | Op::Relu(_), Form::Texture) => [Form::Single; 2],
        (Op::Linear(_), Form::Texture) => [Form::Texture, Form::Single],
        (Op::Linear(_), _) => [Form::Single; 2],
        (Op::GlobalAvgPool(_), Form::Half) => [Form::Half, Form::Single],
        _ => [maps; 2],
    }
}

/// The input whose memory the result may take over, element by element.
pub(super) fn in_place_input(node: &Node) -> Option<ValueId> {
    let input = node.op.as_operation().in_place_input()?;
    node.inputs.get(input).copied()
}

/// A kernel of one input and nothing else.
fn unary(launch: Launch) -> Choice {
    Choice {
        launch,
        constants: vec![],
        operands: vec![Operand::Input(0), Operand::Output],
    }
}

/// A kernel of two inputs and nothing else.
fn binary(launch: Launch) -> Choice {
    Choice {
        launch,
        constants: vec![],
        operands: vec![Operand::Input(0), Operand::Input(1), Operand::Output],
    }
}

/// The kernel of a node on textures, `None` when it runs on buffers or is a convolution.
pub(super) fn texture_kernel_for(graph: &Graph, node: &Node) -> Option<Choice> {
    if forms_of(node, Form::Texture)[0] != Form::Texture {
        return None;
    }
    let x = graph.shape(node.inputs[0]);
    let y = graph.shape(node.output);
    Some(match node.op {
        Op::Add(Add { relu }) => binary(residual_add_texture::launch(x, relu)),
        Op::ReluGradient(_) => binary(relu_gradient_texture::launch(x)),
        Op::MaxPool(MaxPool { window, pad_value }) => {
            unary(max_pool_texture::launch(x, y, &window, pad_value))
        }
        Op::AvgPool(AvgPool {
            window,
            count_padding,
        }) => unary(avg_pool_texture::launch(x, y, &window, count_padding)),
        Op::GlobalAvgPool(_) => unary(global_avg_pool_texture::launch(x)),
        Op::Linear(Linear { weight, bias }) => Choice {
            launch: linear_texture::launch(x, y),
            constants: vec![texels(graph, weight, bias, linear_texture::TILE_CO)],
            operands: vec![Operand::Input(0), Operand::Constant(0), Operand::Output],
        },
        _ => return None,
    })
}

/// Weights and biases for a kernel on textures.
pub(super) fn texels(
    graph: &Graph,
    weight: ParamId,
    bias: Option<ParamId>,
    tile_co: usize,
) -> (&'static str, Constant) {
    let params = [Some(weight), bias].into_iter().flatten();
    (
        "weight",
        Constant {
            packing: Packing::Texels { tile_co },
            tensors: params.map(|p| graph.tensor(p).clone()).collect(),
        },
    )
}

/// The kernel of a node on buffers, `None` when it is a convolution.
pub(super) fn kernel_for(graph: &Graph, node: &Node) -> Option<Choice> {
    let x = graph.shape(node.inputs[0]);
    let y = graph.shape(node.output);
    Some(match node.op {
        Op::Conv2d(_) => return None,
        Op::BatchNorm(norm) if norm.statistics == Statistics::Batch => Choice {
            launch: batch_norm_of_batch::launch(x, norm.epsilon, norm.relu),
            constants: vec![
                ("gamma", vector(graph, Some(norm.gamma), x.c, LANES)),
                ("beta", vector(graph, Some(norm.beta), x.c, LANES)),
            ],
            operands: vec![
                Operand::Input(0),
                Operand::Constant(0),
                Operand::Constant(1),
                Operand::Output,
            ],
        },
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
                ..
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
        Op::Relu(_) => unary(relu::launch(x)),
        Op::Add(Add { relu }) => binary(residual_add::launch(x, relu)),
        Op::MaxPool(MaxPool { window, pad_value }) => {
            unary(max_pool::launch(x, y, &window, pad_value))
        }
        Op::AvgPool(AvgPool {
            window,
            count_padding,
        }) => unary(avg_pool::launch(x, y, &window, count_padding)),
        Op::GlobalAvgPool(_) => unary(global_avg_pool::launch(x)),
        Op::Flatten(Flatten { order }) => unary(flatten::launch(x, order)),
        Op::Linear(Linear { weight, bias }) => Choice {
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
        Op::Softmax(_) => unary(softmax::launch(x)),
        Op::ClassGradient(ClassGradient { weight, class }) => Choice {
            launch: class_gradient::launch(x, y),
            constants: vec![
                (
                    "weight",
                    Constant {
                        packing: Packing::ClassRows,
                        tensors: vec![graph.tensor(weight).clone()],
                    },
                ),
                ("class", vector(graph, Some(class), 1, LANES)),
            ],
            operands: vec![
                Operand::Input(0),
                Operand::Constant(0),
                Operand::Constant(1),
                Operand::Output,
            ],
        },
        Op::ReluGradient(_) => binary(relu_gradient::launch(x)),
        Op::AvgPoolGradient(AvgPoolGradient { window, .. }) => {
            unary(avg_pool_gradient::launch(x, y, &window))
        }
        Op::Dilate(Dilate { stride, .. }) => unary(dilate::launch(x, y, stride)),
        Op::ChannelDot(ChannelDot { positive }) => binary(channel_dot::launch(x, positive)),
    })
}

/// A per-channel vector, zeros when there is none.
pub(super) fn vector(
    graph: &Graph,
    param: Option<ParamId>,
    len: usize,
    multiple: usize,
) -> Constant {
    Constant {
        packing: Packing::Vector { len, multiple },
        tensors: param.map(|p| graph.tensor(p).clone()).into_iter().collect(),
    }
}
