//! Attention pool: the pixels of an image and their mean, weighed by how well they answer queries.

use super::Op;
use super::operation::{Arity, Backward, Check, Operation, Placement, Summary};
use crate::error::Error;
use crate::graph::{Graph, Node, ParamId, ValueId};
use crate::tensor::{LANES, Shape};

/// The most tokens: what a workgroup remembers of them is half of the memory that every device has.
const MAX_TOKENS: usize = 2048;

/// For each query of input 1, which has the channels of input 0 once for every query, the sum of tokens
/// with the softmax of `query · token` as their weights. The tokens are the mean of the pixels of input 0
/// and each pixel, plus their positions: the last pool of CLIP's `ResNet`s (Radford et al. 2021,
/// arXiv:2103.00020), without its linear layers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AttentionPool {
    /// What is added to each token, `[1 + pixels, channels]`.
    pub positions: ParamId,
}

impl Operation for AttentionPool {
    fn summary(&self) -> Summary {
        Summary {
            kind: "attention_pool",
            arity: Arity::Two,
            trained: [Some(self.positions), None],
            multiplies: None,
            clamps: false,
        }
    }

    fn map_params(&self, map: &mut dyn FnMut(ParamId) -> ParamId) -> Option<Op> {
        let positions = map(self.positions);
        Some(Op::AttentionPool(Self { positions }))
    }

    fn shape(&self, check: &Check<'_>, inputs: &[Shape]) -> Result<Shape, Error> {
        let (x, queries) = (inputs[0], inputs[1]);
        let tokens = x.h * x.w + 1;
        if !x.c.is_multiple_of(LANES) || tokens > MAX_TOKENS {
            let Shape { c, h, w, .. } = x;
            return Err(check.refuse(format!(
                "{c} channels of {h}x{w} pixels are not supported, only multiples of {LANES} and {} \
                 pixels at most",
                MAX_TOKENS - 1
            )));
        }
        check.param("positions", self.positions, &[tokens, x.c])?;
        let count = (queries.c / x.c).max(1);
        check.same_shape(Shape::new(x.n, count * x.c, 1, 1), queries)
    }

    fn placement(&self, _: &Graph, _: &Node) -> Placement {
        Placement::on(1)
    }

    fn gradient(&self, back: &mut Backward<'_>, _: usize) -> Result<ValueId, Error> {
        Err(back.no_gradient())
    }
}
