//! Group normalisation.

use super::Op;
use super::operation::{Arity, Backward, Check, Operation, Placement, Summary};
use crate::error::Error;
use crate::graph::{Graph, Node, ParamId, ValueId};
use crate::tensor::Shape;

/// Group normalisation (Wu & He 2018, arXiv:1803.08494):
/// `y = gamma · (x − mean) / √(variance + epsilon) + beta`, with the statistics of each group of
/// channels in each image.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct GroupNorm {
    /// Scale, `[channels]`.
    pub gamma: ParamId,
    /// Shift, `[channels]`.
    pub beta: ParamId,
    /// The number of channel groups.
    pub groups: usize,
    /// Added to the variance.
    pub epsilon: f32,
}

impl Operation for GroupNorm {
    fn summary(&self) -> Summary {
        Summary {
            kind: "group_norm",
            arity: Arity::One,
            trained: [Some(self.gamma), Some(self.beta)],
            multiplies: None,
            clamps: false,
        }
    }

    fn map_params(&self, map: &mut dyn FnMut(ParamId) -> ParamId) -> Option<Op> {
        Some(Op::GroupNorm(Self {
            gamma: map(self.gamma),
            beta: map(self.beta),
            ..*self
        }))
    }

    fn shape(&self, check: &Check<'_>, inputs: &[Shape]) -> Result<Shape, Error> {
        let x = inputs[0];
        check.param("gamma", self.gamma, &[x.c])?;
        check.param("beta", self.beta, &[x.c])?;
        if self.groups == 0 || !x.c.is_multiple_of(self.groups) {
            let reason = format!("{} groups do not divide {} channels", self.groups, x.c);
            return Err(check.refuse(reason));
        }
        if !(self.epsilon.is_finite() && self.epsilon >= 0.0) {
            return Err(check.refuse(format!("epsilon is {}", self.epsilon)));
        }
        Ok(x)
    }

    fn settings(&self, _: &Graph) -> String {
        format!("{} groups, epsilon {:e}", self.groups, self.epsilon)
    }

    fn placement(&self, _: &Graph, _: &Node) -> Placement {
        Placement::on(0)
    }

    fn gradient(&self, back: &mut Backward<'_>, _: usize) -> Result<ValueId, Error> {
        Err(back.no_gradient())
    }
}
