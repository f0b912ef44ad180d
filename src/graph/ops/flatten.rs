//! Images as vectors.

use super::Op;
use super::operation::{Arity, Backward, Check, Operation, Placement};
use crate::error::Error;
use crate::graph::{Graph, Node, ParamId, ValueId};
use crate::tensor::Shape;

/// Flattens each image into the channels of one pixel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Flatten {
    /// Their order.
    pub order: FlattenOrder,
}

/// The order in which a flattened vector lists channels, rows and columns.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FlattenOrder {
    /// Channels outermost (PyTorch).
    Chw,
    /// Channels innermost (Keras, channels last).
    Hwc,
}

impl Operation for Flatten {
    fn kind(&self) -> &'static str {
        "flatten"
    }

    fn arity(&self) -> Arity {
        Arity::One
    }

    fn map_params(&self, _: &mut dyn FnMut(ParamId) -> ParamId) -> Op {
        Op::Flatten(*self)
    }

    fn shape(&self, _: &Check<'_>, inputs: &[Shape]) -> Result<Shape, Error> {
        let x = inputs[0];
        Ok(Shape::new(x.n, x.c * x.h * x.w, 1, 1))
    }

    fn macs_per_scalar(&self, _: &Graph) -> usize {
        0
    }

    fn trained(&self) -> [Option<ParamId>; 2] {
        [None; 2]
    }

    fn settings(&self, _: &Graph) -> String {
        format!("{:?}", self.order)
    }

    fn placement(&self, _: &Graph, _: &Node) -> Placement {
        Placement::on(0)
    }

    fn clamps(&self) -> bool {
        false
    }

    fn gradient(&self, back: &mut Backward<'_>, _: usize) -> Result<ValueId, Error> {
        Err(back.no_gradient())
    }
}
