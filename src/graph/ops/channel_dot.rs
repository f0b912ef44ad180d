//! Dot product over channels.

use super::operation::{Arity, Backward, Check, Operation, Placement, Summary};
use crate::error::Error;
use crate::graph::{Graph, Node, ValueId};
use crate::tensor::Shape;

/// The sum over channels of input 0 times input 1, which have the same shape.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChannelDot {
    /// Whether only positive elements of input 0 count.
    pub positive: bool,
}

impl Operation for ChannelDot {
    fn summary(&self) -> Summary {
        Summary {
            kind: "channel_dot",
            arity: Arity::Two,
            trained: [None; 2],
            multiplies: None,
            clamps: false,
        }
    }

    fn shape(&self, check: &Check<'_>, inputs: &[Shape]) -> Result<Shape, Error> {
        let Shape { n, h, w, .. } = check.same_shape(inputs[0], inputs[1])?;
        Ok(Shape::new(n, 1, h, w))
    }

    fn placement(&self, _: &Graph, _: &Node) -> Placement {
        // The activation; the other input is its gradient.
        Placement::on(1)
    }

    fn gradient(&self, back: &mut Backward<'_>, _: usize) -> Result<ValueId, Error> {
        Err(back.no_gradient())
    }
}
