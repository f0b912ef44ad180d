//! Softmax.

use super::operation::{Arity, Backward, Check, Operation, Placement, Summary};
use crate::error::Error;
use crate::graph::{Graph, Node, ValueId};
use crate::tensor::Shape;

/// `exp(x) / Σ exp(x)` over the channels of 1×1 images.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Softmax;

impl Operation for Softmax {
    fn summary(&self) -> Summary {
        Summary {
            kind: "softmax",
            arity: Arity::One,
            trained: [None; 2],
            multiplies: None,
            clamps: false,
        }
    }

    fn shape(&self, check: &Check<'_>, inputs: &[Shape]) -> Result<Shape, Error> {
        check.vectors(inputs[0])
    }

    fn placement(&self, _: &Graph, _: &Node) -> Placement {
        Placement::on(0)
    }

    fn gradient(&self, back: &mut Backward<'_>, _: usize) -> Result<ValueId, Error> {
        Err(back.no_gradient())
    }
}
