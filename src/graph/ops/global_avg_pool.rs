//! Average pool over whole images.

use super::operation::{Arity, Backward, Check, Operation, Placement};
use super::{AvgPoolGradient, Op};
use crate::error::Error;
use crate::graph::{Graph, Node, ParamId, ValueId, Window};
use crate::tensor::Shape;

/// Mean over all pixels of an image, per channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GlobalAvgPool;

impl Operation for GlobalAvgPool {
    fn kind(&self) -> &'static str {
        "global_avg_pool"
    }

    fn arity(&self) -> Arity {
        Arity::One
    }

    fn map_params(&self, _: &mut dyn FnMut(ParamId) -> ParamId) -> Op {
        Op::GlobalAvgPool(*self)
    }

    fn shape(&self, _: &Check<'_>, inputs: &[Shape]) -> Result<Shape, Error> {
        let x = inputs[0];
        Ok(Shape::new(x.n, x.c, 1, 1))
    }

    fn macs_per_scalar(&self, _: &Graph) -> usize {
        0
    }

    fn trained(&self) -> [Option<ParamId>; 2] {
        [None; 2]
    }

    fn placement(&self, graph: &Graph, node: &Node) -> Placement {
        Placement::of_window(&whole(graph.shape(node.inputs[0])))
    }

    fn clamps(&self) -> bool {
        false
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
