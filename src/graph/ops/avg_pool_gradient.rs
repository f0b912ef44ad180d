//! Gradient of an average pool.

use super::operation::{Arity, Backward, Check, Operation, Placement, Summary};
use crate::error::Error;
use crate::graph::{Graph, Node, Padding, ValueId, Window};
use crate::tensor::Shape;

/// The gradient of an average pool without padding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AvgPoolGradient {
    /// The window of the pool.
    pub window: Window,
    /// Height and width of the pool's input.
    pub size: [usize; 2],
}

impl Operation for AvgPoolGradient {
    fn summary(&self) -> Summary {
        Summary {
            kind: "avg_pool_gradient",
            arity: Arity::One,
            trained: [None; 2],
            multiplies: None,
            clamps: false,
        }
    }

    fn shape(&self, check: &Check<'_>, inputs: &[Shape]) -> Result<Shape, Error> {
        let x = inputs[0];
        let out = Shape::new(x.n, x.c, self.size[0], self.size[1]);
        let pooled = check.slide(&self.window, out)?;
        if self.window.padding != Padding::default() || pooled != [x.h, x.w] {
            return Err(check.refuse(format!(
                "a mean over {:?} of {:?} pixels does not give {}x{}",
                self.window, self.size, x.h, x.w
            )));
        }
        Ok(out)
    }

    fn placement(&self, _: &Graph, _: &Node) -> Placement {
        Placement::of_window(&self.window).inverse()
    }

    fn gradient(&self, back: &mut Backward<'_>, _: usize) -> Result<ValueId, Error> {
        Err(back.no_gradient())
    }
}
