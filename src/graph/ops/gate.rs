//! Gate: scales every channel of an image by a factor between 0 and 1.

use super::Op;
use super::operation::{Arity, Backward, Check, Operation, Placement};
use crate::error::Error;
use crate::graph::{Graph, Node, ParamId, ValueId};
use crate::tensor::Shape;

/// Input 0 times the sigmoid of input 1, which has one scalar for each image and channel: the last step
/// of squeeze-and-excitation (Hu, Shen & Sun 2018, arXiv:1709.01507).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gate;

impl Operation for Gate {
    fn kind(&self) -> &'static str {
        "gate"
    }

    fn arity(&self) -> Arity {
        Arity::Two
    }

    fn map_params(&self, _: &mut dyn FnMut(ParamId) -> ParamId) -> Op {
        Op::Gate(*self)
    }

    fn shape(&self, check: &Check<'_>, inputs: &[Shape]) -> Result<Shape, Error> {
        let x = inputs[0];
        check.same_shape(Shape::new(x.n, x.c, 1, 1), inputs[1])?;
        Ok(x)
    }

    fn macs_per_scalar(&self, _: &Graph) -> usize {
        0
    }

    fn trained(&self) -> [Option<ParamId>; 2] {
        [None; 2]
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
