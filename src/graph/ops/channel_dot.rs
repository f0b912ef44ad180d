//! Scalar product along the channels.

use super::Op;
use super::operation::{Arity, Backward, Check, Operation, Placement};
use crate::error::Error;
use crate::graph::{Graph, Node, ParamId, ValueId};
use crate::tensor::Shape;

/// Sum over the channels of input 0 times input 1, of the same shape.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChannelDot {
    /// Only positive scalars of input 0 count.
    pub positive: bool,
}

impl Operation for ChannelDot {
    fn kind(&self) -> &'static str {
        "channel_dot"
    }

    fn arity(&self) -> Arity {
        Arity::Two
    }

    fn map_params(&self, _: &mut dyn FnMut(ParamId) -> ParamId) -> Op {
        Op::ChannelDot(*self)
    }

    fn shape(&self, check: &Check<'_>, inputs: &[Shape]) -> Result<Shape, Error> {
        let Shape { n, h, w, .. } = check.same_shape(inputs[0], inputs[1])?;
        Ok(Shape::new(n, 1, h, w))
    }

    fn macs_per_scalar(&self, _: &Graph) -> usize {
        0
    }

    fn trained(&self) -> [Option<ParamId>; 2] {
        [None; 2]
    }

    fn placement(&self, _: &Graph, _: &Node) -> Placement {
        // The input that the gradient is laid over.
        Placement::on(1)
    }

    fn clamps(&self) -> bool {
        false
    }

    fn gradient(&self, back: &mut Backward<'_>, _: usize) -> Result<ValueId, Error> {
        Err(back.no_gradient())
    }
}
