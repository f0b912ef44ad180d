//! Linear layer.

use super::Op;
use super::operation::{Arity, Backward, Check, Operation, Placement, Summary};
use crate::error::Error;
use crate::graph::{Graph, Node, ParamId, ValueId};
use crate::tensor::Shape;

/// `y = W·x + b` on 1×1 images.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Linear {
    /// Weight, `[out, in]`.
    pub weight: ParamId,
    /// Bias, `[out]`.
    pub bias: Option<ParamId>,
}

impl Operation for Linear {
    fn summary(&self) -> Summary {
        Summary {
            kind: "linear",
            arity: Arity::One,
            trained: [Some(self.weight), self.bias],
            multiplies: Some(self.weight),
            clamps: false,
        }
    }

    fn map_params(&self, map: &mut dyn FnMut(ParamId) -> ParamId) -> Option<Op> {
        Some(Op::Linear(Self {
            weight: map(self.weight),
            bias: self.bias.map(map),
        }))
    }

    fn shape(&self, check: &Check<'_>, inputs: &[Shape]) -> Result<Shape, Error> {
        let x = check.vectors(inputs[0])?;
        let dims = check.dims(self.weight)?;
        let &[out, _] = dims else {
            return Err(check.refuse(format!("the weight must be [out, in], got shape {dims:?}")));
        };
        check.param("weight", self.weight, &[out, x.c])?;
        if let Some(bias) = self.bias {
            check.param("bias", bias, &[out])?;
        }
        Ok(Shape::new(x.n, out, 1, 1))
    }

    fn placement(&self, _: &Graph, _: &Node) -> Placement {
        Placement::on(0)
    }

    fn gradient(&self, back: &mut Backward<'_>, _: usize) -> Result<ValueId, Error> {
        Err(back.no_gradient())
    }
}
