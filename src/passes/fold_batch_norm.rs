//! Turns convolution → batch norm into one convolution with scaled weights and a bias.
//!
//! With s = γ / √(σ² + ε): w'[co,…] = w[co,…]·s[co] and b'[co] = (b[co] − μ[co])·s[co] + β[co],
//! in f64 and rounded once (Jacob et al. 2017, arXiv:1712.05877, section 3.2).

use super::{Fused, Rebuild, fuse_pairs};
use crate::error::Error;
use crate::graph::{BatchNorm, Conv2d, Graph, Node, Op, ParamId, Statistics};
use crate::tensor::Tensor;

pub(super) fn run(graph: &Graph) -> Result<Graph, Error> {
    fuse_pairs(graph, |rebuild, producer, consumer| {
        let (Op::Conv2d(conv), Op::BatchNorm(norm)) = (producer.op, consumer.op) else {
            return None;
        };
        // The statistics of the batch are not known in advance.
        if norm.statistics == Statistics::Batch {
            return None;
        }
        // A normalisation that follows a ReLU or a residual cannot be folded into the weights.
        if conv.relu || producer.inputs.len() > 1 {
            return None;
        }
        Some(fold(rebuild, producer, &conv, &norm))
    })
}

fn fold(rebuild: &mut Rebuild<'_>, producer: &Node, conv: &Conv2d, norm: &BatchNorm) -> Fused {
    let old = rebuild.old;
    let channel = |param: ParamId, co: usize| f64::from(old.tensor(param).data()[co]);
    let scale = |co: usize| {
        channel(norm.gamma, co) / (channel(norm.variance, co) + f64::from(norm.epsilon)).sqrt()
    };
    let weight = old.tensor(conv.weight);
    let out_c = weight.dims()[0];
    let scales: Vec<f64> = (0..out_c).map(scale).collect();
    let folded_bias = Tensor::from_fn(&[out_c], |co| {
        let bias = conv.bias.map_or(0.0, |b| channel(b, co));
        round((bias - channel(norm.mean, co)) * scales[co] + channel(norm.beta, co))
    });
    let name = &producer.name;
    let folded = Conv2d {
        weight: rebuild
            .new
            .param(format!("{name}.weight (folded)"), weight.scaled(scales)),
        bias: Some(
            rebuild
                .new
                .param(format!("{name}.bias (folded)"), folded_bias),
        ),
        relu: norm.relu,
        ..*conv
    };
    Fused {
        op: Op::Conv2d(folded),
        inputs: producer.inputs.clone(),
    }
}

#[expect(
    clippy::cast_possible_truncation,
    reason = "the one rounding of the folded weight to the precision of the kernels"
)]
fn round(value: f64) -> f32 {
    value as f32
}
