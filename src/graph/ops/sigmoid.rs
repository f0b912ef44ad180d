//! Sigmoid.

use super::Op;
use super::operation::{Arity, Backward, Check, Operation, Placement};
use crate::error::Error;
use crate::graph::{Graph, Node, ParamId, ValueId};
use crate::tensor::Shape;

/// `1 / (1 + exp(−x))` of each channel of images of one pixel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sigmoid;

impl Operation for Sigmoid {
    fn kind(&self) -> &'static str {
        "sigmoid"
    }

    fn arity(&self) -> Arity {
        Arity::One
    }

    fn map_params(&self, _: &mut dyn FnMut(ParamId) -> ParamId) -> Op {
        Op::Sigmoid(*self)
    }

    fn shape(&self, check: &Check<'_>, inputs: &[Shape]) -> Result<Shape, Error> {
        check.vectors(inputs[0])
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
