//! Inserts zeros between pixels.

use super::operation::{Arity, Backward, Check, Operation, Placement, Summary};
use crate::error::Error;
use crate::graph::{Graph, Node, ValueId};
use crate::tensor::Shape;

/// Spreads pixels `stride` rows and columns apart, with zeros in between.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Dilate {
    /// Vertical and horizontal distance between pixels.
    pub stride: [usize; 2],
    /// Height and width of the result.
    pub size: [usize; 2],
}

impl Operation for Dilate {
    fn summary(&self) -> Summary {
        Summary {
            kind: "dilate",
            arity: Arity::One,
            trained: [None; 2],
            multiplies: None,
            clamps: false,
        }
    }

    fn shape(&self, check: &Check<'_>, inputs: &[Shape]) -> Result<Shape, Error> {
        let x = inputs[0];
        let fits = |pixels: usize, stride: usize, size: usize| {
            let end = (pixels - 1).checked_mul(stride);
            stride > 0 && end.is_some_and(|end| end < size)
        };
        let Self { stride, size } = *self;
        if fits(x.h, stride[0], size[0]) && fits(x.w, stride[1], size[1]) {
            return Ok(Shape::new(x.n, x.c, size[0], size[1]));
        }
        Err(check.refuse(format!(
            "{}x{} pixels, {stride:?} apart, do not fit {size:?}",
            x.h, x.w
        )))
    }

    fn placement(&self, _: &Graph, _: &Node) -> Placement {
        Placement {
            step: self.stride.map(|stride| (stride as f64).recip()),
            ..Placement::on(0)
        }
    }

    fn gradient(&self, back: &mut Backward<'_>, _: usize) -> Result<ValueId, Error> {
        Err(back.no_gradient())
    }
}
