//! Average pool.

use super::operation::{Arity, Backward, Check, Operation, Placement, Summary};
use super::{AvgPoolGradient, Op};
use crate::error::Error;
use crate::graph::{Graph, Node, Padding, ValueId, Window};
use crate::tensor::Shape;

/// Mean over a window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AvgPool {
    /// The window.
    pub window: Window,
    /// Whether padding counts as zeros in the mean, instead of being left out.
    pub count_padding: bool,
}

impl Operation for AvgPool {
    fn summary(&self) -> Summary {
        Summary {
            kind: "avg_pool",
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
        if self.window.padding != Padding::default() {
            return Err(back.no_gradient());
        }
        let Shape { h, w, .. } = back.input(0);
        let op = AvgPoolGradient {
            window: self.window,
            size: [h, w],
        };
        back.add("gradient", Op::AvgPoolGradient(op), back.gradient)
    }
}
