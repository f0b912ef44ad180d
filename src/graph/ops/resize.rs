//! Resizing: another number of rows and columns, interpolated.

use serde::{Deserialize, Serialize};

use super::operation::{Arity, Backward, Check, Operation, Placement, Summary};
use crate::error::Error;
use crate::graph::{Graph, Node, ValueId};
use crate::tensor::Shape;

/// The largest side: up to there, single precision has the centres of all pixels.
const MAX_SIDE: usize = 1 << 22;

/// An image of another size. Pixels are areas, whose centres lie at half numbers; outside the image
/// its edges go on. No pixels are averaged when the image becomes smaller.
///
/// This is `tf.image.resize` of TensorFlow 2, and `Resize` with `half_pixel` coordinates in ONNX.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Resize {
    /// The height and width that result.
    pub size: [usize; 2],
    /// How pixels are found in between.
    pub interpolation: Interpolation,
}

/// How pixels are found between those of an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Interpolation {
    /// A weighed mean of the two nearest ones, along rows and columns.
    Linear,
    /// The pixel whose area contains the point; of two, the later one.
    Nearest,
}

impl Interpolation {
    /// The name of the interpolation.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Linear => "linear",
            Self::Nearest => "nearest",
        }
    }
}

impl Operation for Resize {
    fn summary(&self) -> Summary {
        Summary {
            kind: "resize",
            arity: Arity::One,
            trained: [None; 2],
            multiplies: None,
            clamps: false,
        }
    }

    fn shape(&self, check: &Check<'_>, inputs: &[Shape]) -> Result<Shape, Error> {
        let x = inputs[0];
        let [h, w] = self.size;
        if [x.h, x.w, h, w]
            .iter()
            .any(|side| !(1..=MAX_SIDE).contains(side))
        {
            return Err(check.refuse(format!(
                "an image of {}x{} cannot be resized to {h}x{w}: sides must be from 1 to {MAX_SIDE}",
                x.h, x.w
            )));
        }
        Ok(Shape::new(x.n, x.c, h, w))
    }

    fn placement(&self, graph: &Graph, node: &Node) -> Placement {
        let Shape { h, w, .. } = graph.shape(node.inputs[0]);
        let step = [0, 1].map(|axis| [h, w][axis] as f64 / self.size[axis] as f64);
        Placement {
            input: 0,
            first: step.map(|step| 0.5 * step - 0.5),
            step,
        }
    }

    fn gradient(&self, back: &mut Backward<'_>, _: usize) -> Result<ValueId, Error> {
        Err(back.no_gradient())
    }

    fn settings(&self, _: &Graph) -> String {
        let [h, w] = self.size;
        format!("to {h}×{w}, {}", self.interpolation.name())
    }
}
