//! Batch normalisation, with running statistics or those of the batch.

use super::Op;
use super::operation::{Arity, Backward, Check, Operation, Placement, Summary};
use crate::error::Error;
use crate::graph::{Graph, Node, ParamId, ValueId};
use crate::tensor::{Shape, Tensor};

/// Batch normalisation (Ioffe & Szegedy 2015, arXiv:1502.03167):
/// `y = gamma · (x − mean) / √(variance + epsilon) + beta`, per channel.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct BatchNorm {
    /// Scale, `[channels]`.
    pub gamma: ParamId,
    /// Shift, `[channels]`.
    pub beta: ParamId,
    /// Running mean, `[channels]`.
    pub mean: ParamId,
    /// Running variance, `[channels]`.
    pub variance: ParamId,
    /// Added to the variance.
    pub epsilon: f32,
    /// The mean and variance that are used.
    pub statistics: Statistics,
    /// Whether a ReLU is applied to the result.
    pub relu: bool,
}

/// The mean and variance that a batch normalisation uses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Statistics {
    /// Those collected in training, which are parameters.
    #[default]
    Running,
    /// Those of the current batch, over all images and pixels, as in training. The variance is the
    /// biased one, and the parameters for mean and variance are not read.
    Batch,
}

impl Operation for BatchNorm {
    fn summary(&self) -> Summary {
        Summary {
            kind: "batch_norm",
            arity: Arity::One,
            trained: [Some(self.gamma), Some(self.beta)],
            multiplies: None,
            clamps: self.relu,
        }
    }

    fn map_params(&self, map: &mut dyn FnMut(ParamId) -> ParamId) -> Option<Op> {
        Some(Op::BatchNorm(Self {
            gamma: map(self.gamma),
            beta: map(self.beta),
            mean: map(self.mean),
            variance: map(self.variance),
            ..*self
        }))
    }

    fn shape(&self, check: &Check<'_>, inputs: &[Shape]) -> Result<Shape, Error> {
        let x = inputs[0];
        check.param("gamma", self.gamma, &[x.c])?;
        check.param("beta", self.beta, &[x.c])?;
        check.param("mean", self.mean, &[x.c])?;
        check.param("variance", self.variance, &[x.c])?;
        if !(self.epsilon.is_finite() && self.epsilon >= 0.0) {
            return Err(check.refuse(format!("epsilon is {}", self.epsilon)));
        }
        Ok(x)
    }

    fn settings(&self, _: &Graph) -> String {
        format!("epsilon {:e}", self.epsilon)
    }

    fn placement(&self, _: &Graph, _: &Node) -> Placement {
        Placement::on(0)
    }

    fn clamped(&self) -> Option<Op> {
        Some(Op::BatchNorm(Self {
            relu: true,
            ..*self
        }))
    }

    fn gradient(&self, back: &mut Backward<'_>, _: usize) -> Result<ValueId, Error> {
        // The statistics of the batch depend on the input too.
        if self.statistics == Statistics::Batch {
            return Err(back.no_gradient());
        }
        // The gradient only depends on the scale.
        let zeros = Tensor::from_fn(back.graph.tensor(self.mean).dims(), |_| 0.0);
        let zero = back.name("gradient.zero");
        let zero = back.graph.param(zero, zeros);
        let scale = Self {
            beta: zero,
            mean: zero,
            relu: false,
            ..*self
        };
        back.add("gradient", Op::BatchNorm(scale), back.gradient)
    }
}
