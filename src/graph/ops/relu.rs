//! Rectified linear unit.

use super::operation::{Arity, Backward, Check, Operation, Placement, Summary};
use crate::error::Error;
use crate::graph::{Graph, Node, ValueId};
use crate::tensor::Shape;

/// `max(x, 0)`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Relu;

impl Operation for Relu {
    fn summary(&self) -> Summary {
        Summary {
            kind: "relu",
            arity: Arity::One,
            trained: [None; 2],
            multiplies: None,
            clamps: true,
        }
    }

    fn shape(&self, _: &Check<'_>, inputs: &[Shape]) -> Result<Shape, Error> {
        Ok(inputs[0])
    }

    fn placement(&self, _: &Graph, _: &Node) -> Placement {
        Placement::on(0)
    }

    fn gradient(&self, back: &mut Backward<'_>, _: usize) -> Result<ValueId, Error> {
        Ok(back.gradient)
    }
}
