//! Max pool.

use super::Op;
use super::operation::{Arity, Backward, Check, Operation, Placement};
use crate::error::Error;
use crate::graph::{Graph, Node, ParamId, ValueId, Window};
use crate::tensor::Shape;

/// Maximum over a window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MaxPool {
    /// The window.
    pub window: Window,
    /// The value outside the image.
    pub pad_value: PadValue,
}

/// The value that a max pool reads outside the image.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PadValue {
    /// Minus infinity: padding never wins (PyTorch, Keras `same`).
    NegInfinity,
    /// Zero, as if the image had been zero-padded before.
    Zero,
}

impl Operation for MaxPool {
    fn kind(&self) -> &'static str {
        "max_pool"
    }

    fn arity(&self) -> Arity {
        Arity::One
    }

    fn map_params(&self, _: &mut dyn FnMut(ParamId) -> ParamId) -> Op {
        Op::MaxPool(*self)
    }

    fn shape(&self, check: &Check<'_>, inputs: &[Shape]) -> Result<Shape, Error> {
        check.pool(&self.window, inputs[0])
    }

    fn macs_per_scalar(&self, _: &Graph) -> usize {
        0
    }

    fn trained(&self) -> [Option<ParamId>; 2] {
        [None; 2]
    }

    fn window(&self, _: &Graph) -> Option<Window> {
        Some(self.window)
    }

    fn placement(&self, _: &Graph, _: &Node) -> Placement {
        Placement::of_window(&self.window)
    }

    fn clamps(&self) -> bool {
        false
    }

    fn gradient(&self, back: &mut Backward<'_>, _: usize) -> Result<ValueId, Error> {
        Err(back.no_gradient())
    }
}
