//! Flattens images to vectors.

use super::operation::{Arity, Backward, Check, Operation, Placement, Summary};
use crate::error::Error;
use crate::graph::{Graph, Node, ValueId};
use crate::tensor::Shape;

/// Flattens each image into the channels of a single pixel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Flatten {
    /// The order of the channels.
    pub order: FlattenOrder,
}

/// The order in which a flattened vector lists channels, rows and columns.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FlattenOrder {
    /// Channels outermost (PyTorch).
    Chw,
    /// Channels innermost (Keras, channels last).
    Hwc,
}

impl Operation for Flatten {
    fn summary(&self) -> Summary {
        Summary {
            kind: "flatten",
            arity: Arity::One,
            trained: [None; 2],
            multiplies: None,
            clamps: false,
        }
    }

    fn shape(&self, _: &Check<'_>, inputs: &[Shape]) -> Result<Shape, Error> {
        let x = inputs[0];
        Ok(Shape::new(x.n, x.c * x.h * x.w, 1, 1))
    }

    fn settings(&self, _: &Graph) -> String {
        format!("{:?}", self.order)
    }

    fn placement(&self, _: &Graph, _: &Node) -> Placement {
        Placement::on(0)
    }

    fn gradient(&self, back: &mut Backward<'_>, _: usize) -> Result<ValueId, Error> {
        Err(back.no_gradient())
    }
}
