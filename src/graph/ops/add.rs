//! Sum of two activations.

use super::Op;
use super::operation::{Arity, Backward, Check, Operation, Placement};
use crate::error::Error;
use crate::graph::{Graph, Node, ParamId, ValueId};
use crate::tensor::Shape;

/// Sum of two activations of the same shape.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Add {
    /// Clamp the sum at zero.
    pub relu: bool,
}

impl Operation for Add {
    fn kind(&self) -> &'static str {
        "residual_add"
    }

    fn arity(&self) -> Arity {
        Arity::Two
    }

    fn map_params(&self, _: &mut dyn FnMut(ParamId) -> ParamId) -> Op {
        Op::Add(*self)
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
        Placement::on(0)
    }

    fn clamps(&self) -> bool {
        self.relu
    }

    fn clamped(&self) -> Option<Op> {
        Some(Op::Add(Self { relu: true }))
    }

    fn gradient(&self, back: &mut Backward<'_>, _: usize) -> Result<ValueId, Error> {
        Ok(back.gradient)
    }
}
