//! Scales each channel of an image by a factor between 0 and 1.

use super::operation::{Arity, Backward, Check, Operation, Placement, Summary};
use crate::error::Error;
use crate::graph::{Graph, Node, ValueId};
use crate::tensor::Shape;

/// Input 0 times the sigmoid of input 1, which has one element per image and channel: the last step
/// of squeeze-and-excitation (Hu, Shen & Sun 2018, arXiv:1709.01507).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gate;

impl Operation for Gate {
    fn summary(&self) -> Summary {
        Summary {
            kind: "gate",
            arity: Arity::Two,
            trained: [None; 2],
            multiplies: None,
            clamps: false,
        }
    }

    fn shape(&self, check: &Check<'_>, inputs: &[Shape]) -> Result<Shape, Error> {
        let x = inputs[0];
        check.same_shape(Shape::new(x.n, x.c, 1, 1), inputs[1])?;
        Ok(x)
    }

    fn placement(&self, _: &Graph, _: &Node) -> Placement {
        Placement::on(0)
    }

    fn gradient(&self, back: &mut Backward<'_>, _: usize) -> Result<ValueId, Error> {
        Err(back.no_gradient())
    }
}
