//! Average pool over whole images.

use super::operation::{Arity, Backward, Check, Operation, Placement, Summary};
use super::{AvgPoolGradient, Op};
use crate::error::Error;
use crate::graph::{Graph, Node, ValueId, Window};
use crate::tensor::Shape;

/// Mean over all pixels of an image, per channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GlobalAvgPool;

impl Operation for GlobalAvgPool {
    fn summary(&self) -> Summary {
        Summary {
            kind: "global_avg_pool",
            arity: Arity::One,
            trained: [None; 2],
            multiplies: None,
            clamps: false,
        }
    }

    fn shape(&self, _: &Check<'_>, inputs: &[Shape]) -> Result<Shape, Error> {
        let x = inputs[0];
        Ok(Shape::new(x.n, x.c, 1, 1))
    }

    fn placement(&self, graph: &Graph, node: &Node) -> Placement {
        Placement::of_window(&whole(graph.shape(node.inputs[0])))
    }

    fn gradient(&self, back: &mut Backward<'_>, _: usize) -> Result<ValueId, Error> {
        let x = back.input(0);
        let op = AvgPoolGradient {
            window: whole(x),
            size: [x.h, x.w],
        };
        back.add("gradient", Op::AvgPoolGradient(op), back.gradient)
    }
}

/// The window that covers a whole image.
const fn whole(x: Shape) -> Window {
    Window {
        kernel: [x.h, x.w],
        ..Window::square(1, 1)
    }
}
