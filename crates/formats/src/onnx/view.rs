//! How ONNX sees the activations of a graph, which are always NCHW: in any order of axes, with some of
//! size 1 left out or added. Most operators on sizes only change the view and add no node.

use resnet_wgpu::graph::ValueId;
use resnet_wgpu::internals::graph::{PadValue, Padding};
use resnet_wgpu::network::Activation as Function;
use resnet_wgpu::tensor::{Shape, Tensor};

/// What an axis of a value is in the graph.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Axis {
    Image,
    Channel,
    Row,
    Column,
    /// Rows and columns as one axis.
    Pixel,
    /// Of size 1, and not in the graph.
    One,
    /// Groups of channels.
    Group,
    /// The channels of a group and their pixels as one axis.
    Member,
}

pub(super) const NCHW: [Axis; 4] = [Axis::Image, Axis::Channel, Axis::Row, Axis::Column];

/// An activation. Every axis of the graph with more than one element stands once among its axes.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Activation {
    pub(super) id: ValueId,
    pub(super) axes: Vec<Axis>,
    pub(super) pending: Pending,
}

/// What was asked for and is left to whoever reads the value.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Pending {
    Nothing,
    /// Pixels as integers, which become floats.
    Integers,
    /// Padding, which becomes part of a convolution or pooling.
    Pad(Padding, Border),
    /// A choice of channels and arithmetic on each.
    Channels(Channels),
    /// Groups of channels, which only a normalisation of each reads.
    Groups(Groups),
    /// A mean over rows or columns only, which becomes one over both.
    Mean(Axis),
    /// The last operator, or one before a product that lets an image through in part.
    Sigmoid,
    /// A function that may only come last.
    Last(Function),
}

/// What lies outside of an image.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Border {
    Value(PadValue),
    /// The image, mirrored at its edges without repeating them.
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

    /// Whether only factors and summands change the channels of an image that has as many.
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

    /// One more step of arithmetic: a factor and a summand for each channel.
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

    /// Size of an axis; `shape` is that of the value in the graph.
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

    /// Whether its axes are these, up to those of size 1. Where the file knows of one image only, its axis
    /// may be any of them.
    pub(super) fn fits(&self, wanted: &[Axis], shape: Shape) -> bool {
        let one = |axis| axis != Axis::Image && self.size(axis, shape) == 1;
        let only = |a, b| a == Axis::One && b == Axis::Image && !self.axes.contains(&Axis::Image);
        let mut pairs = self.axes.iter().zip(wanted);
        self.axes.len() == wanted.len()
            && pairs.all(|(&a, &b)| a == b || (one(a) && one(b)) || only(a, b))
    }

    /// The axis that lists the channels: the one of them, or one of size 1 at the place of a list of one.
    pub(super) fn is_channel(&self, axis: usize, shape: Shape) -> bool {
        let found = self.axes[axis];
        found == Axis::Channel
            || (found == Axis::One
                && self.size(Axis::Channel, shape) == 1
                && !self.axes.contains(&Axis::Channel))
    }
}
