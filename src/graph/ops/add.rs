//! Sum of two activations.

use super::Op;
use super::operation::{Arity, Backward, Check, Operation, Placement, Summary};
use crate::error::Error;
use crate::graph::{Graph, Node, ValueId};
use crate::tensor::Shape;

/// Sum of two activations of the same shape.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Add {
    /// Whether a ReLU is applied to the sum.
    pub relu: bool,
}

impl Operation for Add {
    fn summary(&self) -> Summary {
        Summary {
            kind: "residual_add",
            arity: Arity::Two,
            trained: [None; 2],
            multiplies: None,
            clamps: self.relu,
        }
    }

    fn shape(&self, check: &Check<'_>, inputs: &[Shape]) -> Result<Shape, Error> {
        check.same_shape(inputs[0], inputs[1])
    }

    fn placement(&self, _: &Graph, _: &Node) -> Placement {
        Placement::on(0)
    }

    fn clamped(&self) -> Option<Op> {
        Some(Op::Add(Self { relu: true }))
    }

    fn gradient(&self, back: &mut Backward<'_>, _: usize) -> Result<ValueId, Error> {
        Ok(back.gradient)
    }
}
