//! Max pool.

use super::operation::{Arity, Backward, Check, Operation, Placement, Summary};
use crate::error::Error;
use crate::graph::{Graph, Node, ValueId, Window};
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
    /// Zero, as if the image had been padded with zeros beforehand.
    Zero,
}

impl Operation for MaxPool {
    fn summary(&self) -> Summary {
        Summary {
            kind: "max_pool",
            arity: Arity::One,
            trained: [None; 2],
            multiplies: None,
            clamps: false,
        }
    }

    fn shape(&self, check: &Check<'_>, inputs: &[Shape]) -> Result<Shape, Error> {
        check.pool(&self.window, inputs[0])
    }

    fn window(&self, _: &Graph) -> Option<Window> {
        Some(self.window)
    }

    fn placement(&self, _: &Graph, _: &Node) -> Placement {
        Placement::of_window(&self.window)
    }

    fn gradient(&self, back: &mut Backward<'_>, _: usize) -> Result<ValueId, Error> {
        Err(back.no_gradient())
    }
}
