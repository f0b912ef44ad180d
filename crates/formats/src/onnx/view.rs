//! How ONNX sees an activation of the graph, which is always NCHW: its axes may be in any order,
//! and axes of size 1 dropped or added. Most shape operators change only the view and add no node.

use resnet_wgpu::graph::ValueId;
use resnet_wgpu::internals::graph::{PadValue, Padding};
use resnet_wgpu::network::Activation as Function;
use resnet_wgpu::tensor::{Shape, Tensor};

/// The meaning of an axis of an ONNX value in the graph.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Axis {
    Image,
    Channel,
    Row,
    Column,
    /// Rows and columns merged into one axis.
    Pixel,
    /// An added axis of size 1, without a counterpart in the graph.
    One,
    /// Groups of channels.
    Group,
    /// The channels of a group and their pixels as one axis.
    Member,
}

pub(super) const NCHW: [Axis; 4] = [Axis::Image, Axis::Channel, Axis::Row, Axis::Column];

/// An activation. `axes` has every axis of the graph with more than one element, exactly once.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Activation {
    pub(super) id: ValueId,
    pub(super) axes: Vec<Axis>,
    pub(super) pending: Pending,
}

/// An operation that is deferred until something reads the value.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Pending {
    Nothing,
    /// Pixels as integers, to be converted to floats.
    Integers,
    /// Padding, to be merged into a convolution or pooling.
    Pad(Padding, Border),
    /// A selection of channels, with a scale and a shift for each.
    Channels(Channels),
    /// Groups of channels, which only a normalisation of each reads.
    Groups(Groups),
    /// A mean over rows or columns only, which becomes one over both.
    Mean(Axis),
    /// A sigmoid: the final operator, or the gate of a product.
    Sigmoid,
    /// A function that is only allowed as the final operator.
    Last(Function),
}

/// The values of padding.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Border {
    Value(PadValue),
    /// Reflected pixels, the edge not repeated (mode `reflect`).
    Mirror,
}

/// Groups of channels, and how they are normalised.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Groups {
    pub(super) count: usize,
    pub(super) norm: Option<GroupsNorm>,
}

/// A normalisation with a factor and a summand for each group.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct GroupsNorm {
    pub(super) epsilon: f32,
    pub(super) scale: Tensor,
    pub(super) shift: Tensor,
}

/// For each channel the one that it is made of, a factor and a summand.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Channels {
    pub(super) source: Vec<usize>,
    pub(super) scale: Vec<f64>,
    pub(super) shift: Vec<f64>,
}

impl Channels {
    pub(super) fn unchanged(count: usize) -> Self {
        Self {
            source: (0..count).collect(),
            scale: vec![1.0; count],
            shift: vec![0.0; count],
        }
    }

    pub(super) fn len(&self) -> usize {
        self.source.len()
    }

    /// Whether the result has the `count` source channels in their order, at most rescaled.
    pub(super) fn keeps_order(&self, count: usize) -> bool {
        self.source.iter().copied().eq(0..count)
    }

    pub(super) fn pick(&self, channels: &[usize]) -> Self {
        Self {
            source: channels.iter().map(|&c| self.source[c]).collect(),
            scale: channels.iter().map(|&c| self.scale[c]).collect(),
            shift: channels.iter().map(|&c| self.shift[c]).collect(),
        }
    }

    pub(super) fn append(&mut self, other: Self) {
        self.source.extend(other.source);
        self.scale.extend(other.scale);
        self.shift.extend(other.shift);
    }

    /// Appends one more step: a factor and a summand for each channel.
    pub(super) fn then(&mut self, steps: impl Iterator<Item = [f64; 2]>) {
        for (c, [factor, summand]) in steps.enumerate() {
            self.scale[c] *= factor;
            self.shift[c] = self.shift[c] * factor + summand;
        }
    }
}

impl Activation {
    pub(super) fn new(id: ValueId, axes: impl Into<Vec<Axis>>) -> Self {
        Self {
            id,
            axes: axes.into(),
            pending: Pending::Nothing,
        }
    }

    /// The size of an axis; `shape` is the shape of the value in the graph.
    pub(super) fn size(&self, axis: Axis, shape: Shape) -> usize {
        match axis {
            Axis::Image => shape.n,
            Axis::Channel => match &self.pending {
                Pending::Channels(channels) => channels.len(),
                _ => shape.c,
            },
            Axis::Row | Axis::Column if self.pending == Pending::Mean(axis) => 1,
            Axis::Row => shape.h,
            Axis::Column => shape.w,
            Axis::Pixel => shape.h * shape.w,
            Axis::One => 1,
            Axis::Group => self.groups(),
            Axis::Member => shape.c * shape.pixels() / self.groups(),
        }
    }

    fn groups(&self) -> usize {
        match &self.pending {
            Pending::Groups(groups) => groups.count.max(1),
            _ => 1,
        }
    }

    /// Whether the axes match `wanted`, disregarding axes of size 1. If no axis is the batch axis,
    /// an added axis may take its place.
    pub(super) fn fits(&self, wanted: &[Axis], shape: Shape) -> bool {
        let one = |axis| axis != Axis::Image && self.size(axis, shape) == 1;
        let only = |a, b| a == Axis::One && b == Axis::Image && !self.axes.contains(&Axis::Image);
        let mut pairs = self.axes.iter().zip(wanted);
        self.axes.len() == wanted.len()
            && pairs.all(|(&a, &b)| a == b || (one(a) && one(b)) || only(a, b))
    }

    /// Whether this is the channel axis, or an added one that can stand for a single channel.
    pub(super) fn is_channel(&self, axis: usize, shape: Shape) -> bool {
        let found = self.axes[axis];
        found == Axis::Channel
            || (found == Axis::One
                && self.size(Axis::Channel, shape) == 1
                && !self.axes.contains(&Axis::Channel))
    }
}
