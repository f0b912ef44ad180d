//! Layers: one node of the graph together with the parameters that it takes from the weights.

use crate::weights::{Role, Weights};
use resnet_wgpu::Error;
use resnet_wgpu::graph::{
    Add, AvgPool, BatchNorm, Conv2d, Graph, Linear, Op, Padding, ParamId, Relu, Statistics,
    ValueId, Window,
};
use resnet_wgpu::tensor::Shape;

/// A graph under construction and the weights that feed it.
pub(super) struct Layers<'w> {
    pub(super) graph: Graph,
    weights: &'w mut Weights,
    /// Added to the variance by every batch normalisation of the network.
    epsilon: f32,
}

/// Everything about a convolution but its name, its input and its numbers.
#[derive(Clone, Copy)]
pub(super) struct Conv {
    out_c: usize,
    kernel: usize,
    stride: usize,
    padding: usize,
    groups: usize,
    bias: bool,
}

impl Conv {
    /// A square kernel at stride 1, without padding, groups or bias.
    pub(super) const fn new(out_c: usize, kernel: usize) -> Self {
        Self {
            out_c,
            kernel,
            stride: 1,
            padding: 0,
            groups: 1,
            bias: false,
        }
    }

    pub(super) const fn stride(self, stride: usize) -> Self {
        Self { stride, ..self }
    }

    pub(super) const fn padding(self, padding: usize) -> Self {
        Self { padding, ..self }
    }

    pub(super) const fn groups(self, groups: usize) -> Self {
        Self { groups, ..self }
    }

    pub(super) const fn bias(self) -> Self {
        Self { bias: true, ..self }
    }
}

impl<'w> Layers<'w> {
    pub(super) fn new(weights: &'w mut Weights, epsilon: f32) -> Self {
        Self {
            graph: Graph::new(),
            weights,
            epsilon,
        }
    }

    pub(super) fn shape(&self, x: ValueId) -> Result<Shape, Error> {
        Ok(self.graph.get(x)?.shape)
    }

    pub(super) fn conv(&mut self, name: &str, x: ValueId, conv: Conv) -> Result<ValueId, Error> {
        let in_c = self.shape(x)?.c;
        let dims = [
            conv.out_c,
            in_c / conv.groups.max(1),
            conv.kernel,
            conv.kernel,
        ];
        let weight = self.param(name, Role::Weight, &dims)?;
        let bias = if conv.bias {
            Some(self.param(name, Role::Bias, &[conv.out_c])?)
        } else {
            None
        };
        let op = Conv2d::new(weight)
            .bias(bias)
            .stride(conv.stride)
            .padding(conv.padding)
            .groups(conv.groups);
        self.graph.add(name, Op::Conv2d(op), &[x])
    }

    pub(super) fn batch_norm(&mut self, name: &str, x: ValueId) -> Result<ValueId, Error> {
        let channels = [self.shape(x)?.c];
        let op = BatchNorm {
            gamma: self.param(name, Role::Gamma, &channels)?,
            beta: self.param(name, Role::Beta, &channels)?,
            mean: self.param(name, Role::Mean, &channels)?,
            variance: self.param(name, Role::Variance, &channels)?,
            epsilon: self.epsilon,
            statistics: Statistics::Running,
            relu: false,
        };
        self.graph.add(name, Op::BatchNorm(op), &[x])
    }

    pub(super) fn relu(&mut self, name: &str, x: ValueId) -> Result<ValueId, Error> {
        self.graph.add(name, Op::Relu(Relu), &[x])
    }

    pub(super) fn add(&mut self, name: &str, x: ValueId, y: ValueId) -> Result<ValueId, Error> {
        self.graph.add(name, Op::Add(Add { relu: false }), &[x, y])
    }

    /// The 2×2 average pool of a shortcut. An odd last row or column is a window of its own: PyTorch's
    /// `ceil_mode` without counting what lies outside.
    pub(super) fn halve(&mut self, name: &str, x: ValueId) -> Result<ValueId, Error> {
        let Shape { h, w, .. } = self.shape(x)?;
        let window = Window {
            padding: Padding {
                bottom: h % 2,
                right: w % 2,
                ..Padding::all(0)
            },
            ..Window::square(2, 2)
        };
        let op = Op::AvgPool(AvgPool {
            window,
            count_padding: false,
        });
        self.graph.add(name, op, &[x])
    }

    pub(super) fn linear(&mut self, name: &str, x: ValueId, out: usize) -> Result<ValueId, Error> {
        let dims = [out, self.shape(x)?.c];
        let weight = self.param(name, Role::Weight, &dims)?;
        let bias = Some(self.param(name, Role::Bias, &[out])?);
        self.graph
            .add(name, Op::Linear(Linear { weight, bias }), &[x])
    }

    fn param(&mut self, layer: &str, role: Role, dims: &[usize]) -> Result<ParamId, Error> {
        let tensor = self.weights.take(layer, role, dims)?;
        Ok(self.graph.param(format!("{layer}.{}", role.name()), tensor))
    }
}
