//! The back end on storage buffers, which every device can run.

use super::candidate::{Candidate, ConvShape};
use super::lower::{BackEnd, Bound, Lowered, Native, Operand, Representation};
use super::options::PlanOptions;
use crate::graph::{
    AttentionPool, BatchNorm, ChannelConv, ClassGradient, Graph, GroupNorm, Linear, Node, Op,
    ParamId, Statistics,
};
use crate::kernels::{
    Launch, Packing, Precision, Storage, attention_pool, avg_pool, avg_pool_gradient, batch_norm,
    batch_norm_of_batch, blur_pool, channel_conv, channel_dot, class_gradient, dilate, flatten,
    gate, global_avg_pool, group_norm, image_to_tensor, linear, max_pool, narrow, relu,
    relu_gradient, residual_add, resize, sigmoid, softmax, widen,
};
use crate::picture::Normalization;
use crate::tensor::Shape;

mod convolution;
mod defaults;
mod devices;

pub use convolution::OnBuffers;

/// The kernels on storage buffers.
pub(super) struct Buffers<'a> {
    options: &'a PlanOptions,
    /// The precision of stored feature maps and weights.
    precision: Precision,
}

impl<'a> Buffers<'a> {
    pub(super) const fn new(options: &'a PlanOptions, precision: Precision) -> Self {
        Self { options, precision }
    }

    /// The representation of feature maps; in single precision, that which callers see.
    const fn maps(&self) -> Representation {
        match self.precision {
            Precision::F32 => Representation::Plain,
            Precision::F16 => Representation::Native,
        }
    }
}

impl BackEnd for Buffers<'_> {
    fn native(&self) -> Native {
        Native {
            storage: Storage::Buffer,
            precision: self.precision,
        }
    }

    /// 1×1 activations remain in single precision: that costs nothing, and callers read them.
    fn lower(&self, graph: &Graph, node: &Node) -> Lowered {
        let x = graph.shape(node.inputs[0]);
        let y = graph.shape(node.output);
        let maps = [self.maps(); 2];
        let plain = [Representation::Plain; 2];
        let (from_to, bound) = match &node.op {
            Op::Conv2d(conv) => return self.convolution(graph, node, conv),
            Op::BatchNorm(norm) => (maps, bind_batch_norm(graph, x, norm)),
            Op::Relu(_) => (maps, Bound::unary(relu::launch(x))),
            Op::Add(add) => (maps, Bound::binary(residual_add::launch(x, add.relu))),
            Op::MaxPool(pool) => {
                let launch = max_pool::launch(x, y, &pool.window, pool.pad_value);
                (maps, Bound::unary(launch))
            }
            Op::AvgPool(pool) => {
                let launch = avg_pool::launch(x, y, &pool.window, pool.count_padding);
                (maps, Bound::unary(launch))
            }
            Op::BlurPool(op) => (maps, Bound::unary(blur_pool::launch(x, y, op.stride))),
            Op::Resize(op) => (maps, Bound::unary(resize::launch(x, y, op.interpolation))),
            Op::GlobalAvgPool(_) => {
                let bound = Bound::unary(global_avg_pool::launch(x));
                ([self.maps(), Representation::Plain], bound)
            }
            Op::Flatten(op) => (plain, Bound::unary(flatten::launch(x, op.order))),
            Op::Linear(layer) => (plain, bind_linear(graph, [x, y], layer)),
            Op::Softmax(_) => (plain, Bound::unary(softmax::launch(x))),
            Op::Sigmoid(_) => (plain, Bound::unary(sigmoid::launch(x))),
            Op::GroupNorm(norm) => (maps, bind_group_norm(graph, x, norm)),
            Op::ChannelConv(op) => (plain, bind_channel_conv(graph, x, *op)),
            Op::Gate(_) => (maps, Bound::binary(gate::launch(x))),
            Op::AttentionPool(op) => (plain, bind_attention_pool(graph, [x, y], *op)),
            Op::ClassGradient(op) => (plain, bind_class_gradient(graph, [x, y], op)),
            Op::ReluGradient(_) => (plain, Bound::binary(relu_gradient::launch(x))),
            Op::AvgPoolGradient(op) => {
                let launch = avg_pool_gradient::launch(x, y, &op.window);
                (plain, Bound::unary(launch))
            }
            Op::Dilate(op) => (plain, Bound::unary(dilate::launch(x, y, op.stride))),
            Op::ChannelDot(op) => (plain, Bound::binary(channel_dot::launch(x, op.positive))),
        };
        Lowered::single(from_to, self.precision, bound)
    }

    fn pixels(&self, to: Representation, shape: Shape, how: &Normalization) -> Launch {
        let precision = match to {
            Representation::Plain => Precision::F32,
            Representation::Native => self.precision,
        };
        image_to_tensor::launch(shape, how).storing(precision)
    }

    fn convert(&self, to: Representation, shape: Shape) -> Launch {
        let launch = match to {
            Representation::Plain => widen::launch(shape),
            Representation::Native => narrow::launch(shape),
        };
        launch.storing(self.precision)
    }

    fn candidates(&self, shape: &ConvShape) -> Vec<Candidate> {
        let algorithms = self.algorithms(shape.geometry());
        algorithms.into_iter().map(Candidate::Buffers).collect()
    }
}

/// A vector with one element per channel; zeros if there is no parameter.
fn vector(graph: &Graph, param: Option<ParamId>, len: usize) -> Packing {
    Packing::vector(param.map(|param| graph.tensor(param)), len)
}

fn bind_batch_norm(graph: &Graph, shape: Shape, norm: &BatchNorm) -> Bound {
    let BatchNorm { epsilon, relu, .. } = *norm;
    let params = [norm.gamma, norm.beta, norm.mean, norm.variance];
    let [gamma, beta, mean, variance] = params.map(|param| graph.tensor(param).clone());
    match norm.statistics {
        Statistics::Batch => {
            let vector = |tensor| Packing::vector(Some(tensor), shape.c);
            let parameters = [("gamma", vector(&gamma)), ("beta", vector(&beta))];
            let launch = batch_norm_of_batch::launch(shape, epsilon, relu);
            Bound::with_two(launch, parameters)
        }
        Statistics::Running => {
            let scale = batch_norm::scale_packing([gamma.clone(), variance.clone()], epsilon);
            let shift = batch_norm::shift_packing([gamma, beta, mean, variance], epsilon);
            let launch = batch_norm::launch(shape, relu);
            Bound::with_two(launch, [("scale", scale), ("shift", shift)])
        }
    }
}

fn bind_group_norm(graph: &Graph, shape: Shape, norm: &GroupNorm) -> Bound {
    let [gamma, beta] = [norm.gamma, norm.beta].map(|param| vector(graph, Some(param), shape.c));
    let launch = group_norm::launch(shape, norm.groups, norm.epsilon);
    Bound::with_two(launch, [("gamma", gamma), ("beta", beta)])
}

fn bind_channel_conv(graph: &Graph, shape: Shape, op: ChannelConv) -> Bound {
    let taps = graph.tensor(op.weight).data().len();
    let weight = vector(graph, Some(op.weight), taps);
    let operands = [Operand::Input(0), Operand::Parameters(0), Operand::Output];
    Bound::new(
        channel_conv::launch(shape, taps),
        [("weight", weight)],
        operands,
    )
}

fn bind_attention_pool(graph: &Graph, [x, y]: [Shape; 2], op: AttentionPool) -> Bound {
    let positions = attention_pool::packing(graph.tensor(op.positions));
    let operands = [
        Operand::Input(0),
        Operand::Input(1),
        Operand::Parameters(0),
        Operand::Output,
    ];
    Bound::new(
        attention_pool::launch(x, y),
        [("positions", positions)],
        operands,
    )
}

fn bind_linear(graph: &Graph, [x, y]: [Shape; 2], layer: &Linear) -> Bound {
    let weight = linear::packing(graph.tensor(layer.weight));
    let bias = vector(graph, layer.bias, y.c);
    Bound::with_two(linear::launch(x, y), [("weight", weight), ("bias", bias)])
}

fn bind_class_gradient(graph: &Graph, [x, y]: [Shape; 2], op: &ClassGradient) -> Bound {
    let weight = class_gradient::packing(graph.tensor(op.weight));
    let class = vector(graph, Some(op.class), 1);
    let launch = class_gradient::launch(x, y);
    Bound::with_two(launch, [("weight", weight), ("class", class)])
}
