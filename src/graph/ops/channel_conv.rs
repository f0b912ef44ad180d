//! Convolution along the channels of vectors.

use super::Op;
use super::operation::{Arity, Backward, Check, Operation, Placement, Summary};
use crate::error::Error;
use crate::graph::{Graph, Node, ParamId, ValueId};
use crate::tensor::Shape;

/// `y[c] = Σ_j weight[j] · x[c + j − taps/2]` on 1×1 images, with zeros around the channels: the
/// gates of efficient channel attention (Wang et al. 2019, arXiv:1910.03151).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChannelConv {
    /// Weight, `[1, 1, taps]`, with an odd number of taps.
    pub weight: ParamId,
}

impl Operation for ChannelConv {
    fn summary(&self) -> Summary {
        Summary {
            kind: "channel_conv",
            arity: Arity::One,
            trained: [Some(self.weight), None],
            multiplies: None,
            clamps: false,
        }
    }

    fn map_params(&self, map: &mut dyn FnMut(ParamId) -> ParamId) -> Option<Op> {
        let weight = map(self.weight);
        Some(Op::ChannelConv(Self { weight }))
    }

    fn shape(&self, check: &Check<'_>, inputs: &[Shape]) -> Result<Shape, Error> {
        match check.dims(self.weight)? {
            &[1, 1, taps] if taps % 2 == 1 => check.vectors(inputs[0]),
            dims => Err(check.refuse(format!(
                "the weight must be [1, 1, taps] with an odd number of taps, got shape {dims:?}"
            ))),
        }
    }

    fn settings(&self, graph: &Graph) -> String {
        format!("{} taps", graph.tensor(self.weight).data().len())
    }

    fn placement(&self, _: &Graph, _: &Node) -> Placement {
        Placement::on(0)
    }

    fn gradient(&self, back: &mut Backward<'_>, _: usize) -> Result<ValueId, Error> {
        Err(back.no_gradient())
    }
}
