//! Gradient of a ReLU.

use super::Op;
use super::operation::{Arity, Backward, Check, Operation, Placement};
use crate::error::Error;
use crate::graph::{Graph, Node, ParamId, ValueId};
use crate::tensor::Shape;

/// Input 0 where input 1, an activation of the same shape, is positive, else 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReluGradient;

impl Operation for ReluGradient {
    fn kind(&self) -> &'static str {
        "relu_gradient"
    }

    fn arity(&self) -> Arity {
        Arity::Two
    }

    fn map_params(&self, _: &mut dyn FnMut(ParamId) -> ParamId) -> Op {
        Op::ReluGradient(*self)
    }

    fn shape(&self, check: &Check<'_>, inputs: &[Shape]) -> Result<Shape, Error> {
        check.same_shape(inputs[0], inputs[1])
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
