//! Blur pool: a low-pass filter, possibly with a stride.

use super::operation::{Arity, Backward, Check, Operation, Placement, Summary};
use crate::error::Error;
use crate::graph::{Graph, Node, ValueId, Window};
use crate::tensor::Shape;

/// The 3×3 binomial filter, `[1 2 1]/4` along rows and columns, with reflection padding of one
/// pixel (Zhang 2019, arXiv:1904.11486; timm's `BlurPool2d`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BlurPool {
    /// Vertical and horizontal stride.
    pub stride: [usize; 2],
}

impl BlurPool {
    const fn slides(self) -> Window {
        Window {
            stride: self.stride,
            ..Window::square(3, 1).padded(1)
        }
    }
}

impl Operation for BlurPool {
    fn summary(&self) -> Summary {
        Summary {
            kind: "blur_pool",
            arity: Arity::One,
            trained: [None; 2],
            multiplies: None,
            clamps: false,
        }
    }

    fn shape(&self, check: &Check<'_>, inputs: &[Shape]) -> Result<Shape, Error> {
        let x = inputs[0];
        if x.h < 2 || x.w < 2 {
            return Err(check.refuse(format!(
                "{}x{} pixels cannot be mirrored at the edges; use a larger image",
                x.h, x.w
            )));
        }
        check.pool(&self.slides(), x)
    }

    fn window(&self, _: &Graph) -> Option<Window> {
        Some(self.slides())
    }

    fn placement(&self, _: &Graph, _: &Node) -> Placement {
        Placement::of_window(&self.slides())
    }

    fn gradient(&self, back: &mut Backward<'_>, _: usize) -> Result<ValueId, Error> {
        Err(back.no_gradient())
    }
}
