//! Gradient of a ReLU.

use super::operation::{Arity, Backward, Check, Operation, Placement, Summary};
use crate::error::Error;
use crate::graph::{Graph, Node, ValueId};
use crate::tensor::Shape;

/// Input 0 where input 1, an activation of the same shape, is positive, and 0 elsewhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReluGradient;

impl Operation for ReluGradient {
    fn summary(&self) -> Summary {
        Summary {
            kind: "relu_gradient",
            arity: Arity::Two,
            trained: [None; 2],
            multiplies: None,
            clamps: false,
        }
    }

    fn shape(&self, check: &Check<'_>, inputs: &[Shape]) -> Result<Shape, Error> {
        check.same_shape(inputs[0], inputs[1])
    }

    fn placement(&self, _: &Graph, _: &Node) -> Placement {
        // The activation; the other input is its gradient.
        Placement::on(1)
    }

    fn gradient(&self, back: &mut Backward<'_>, _: usize) -> Result<ValueId, Error> {
        Err(back.no_gradient())
    }
}
