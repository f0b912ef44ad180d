//! CLIP's attention pool in place of the mean over all pixels (Radford et al. 2021, arXiv:2103.00020).
//!
//! The pixels' mean, plus a position as each pixel gets one, asks for pixels: each of its heads weighs all of
//! them and the mean by their products with its query. Only what the mean asks for leaves the network, so
//! the keys need not be computed of the pixels: `(K·y)·q` is `y·(Kᵀ·q)`, and what the biases of the keys add
//! is the same for all. Nor need the values: the weights sum to one. The other parts of these networks are
//! known: three convolutions and an average in front, and averages where the image is halved.

use super::{Bench, Sight, unexplained};
use crate::error::Error;
use crate::graph::ValueId;
use crate::network::resnet::naming::{Part, Projection, Unit};
use crate::network::resnet::plan::{AntiAlias, HeadPooling, Plan, Shortcut};
use crate::network::{Family, Operation, PaddingRule, Parameter};
use crate::tensor::Tensor;

/// Channels of a head in all of CLIP's networks.
const HEAD_CHANNELS: usize = 64;
/// How much smaller than the image the map is that is pooled.
const REDUCTION: usize = 32;

/// Reads it from the tensors, before other parts ask for their names.
pub(in super::super) fn infer(sight: &Sight<'_>, plan: &mut Plan) -> Result<(), Error> {
    if sight.naming.family() != Family::Clip {
        return Ok(());
    }
    plan.shortcut = Shortcut::AveragePool;
    plan.anti_alias = Some(AntiAlias::Average);
    let key = Unit::Attention(Projection::Key);
    let dims = sight.dims(plan, key, Part::Linear, Parameter::Weight);
    let channels = dims.and_then(|dims| dims.first().copied()).unwrap_or(0);
    if channels == 0 || !channels.is_multiple_of(HEAD_CHANNELS) {
        let reason =
            format!("{channels} channels do not divide into heads of {HEAD_CHANNELS}, as in CLIP");
        return Err(unexplained(plan, reason));
    }
    plan.head.pooling = HeadPooling::Attention(channels / HEAD_CHANNELS);
    Ok(())
}

/// The rows and columns of the only images that it has positions for.
pub(in super::super) fn size(sight: &Sight<'_>, plan: &Plan) -> Result<[usize; 2], Error> {
    let dims = sight.dims(plan, Unit::Head, Part::Gate, Parameter::Positions);
    let pixels = dims.and_then(|dims| dims.first()?.checked_sub(1));
    let side = pixels
        .map(usize::isqrt)
        .filter(|&side| Some(side * side) == pixels);
    let side = side
        .and_then(|side| side.checked_mul(REDUCTION))
        .filter(|&side| side > 0);
    let side = side.ok_or_else(|| unexplained(plan, "its positions are not those of a square"))?;
    Ok([side; 2])
}

/// Lays it out.
pub(super) fn build(bench: &mut Bench<'_>, x: ValueId, heads: usize) -> Result<ValueId, Error> {
    let shape = bench.draft.shape(x);
    let c = shape.c;
    let tokens = shape.h * shape.w + 1;
    let positions = bench.taken(Unit::Head, Part::Gate, Parameter::Positions, &[tokens, c])?;

    let query = Unit::Attention(Projection::Query);
    let weight = bench.taken(query, Part::Linear, Parameter::Weight, &[c, c])?;
    let bias = bench.taken(query, Part::Linear, Parameter::Bias, &[c])?;
    let bias = moved(&weight, &bias, &positions.data()[..c]);
    let mean = bench.add(Unit::Head, Part::Pool, Operation::GlobalAvgPool, &[x])?;
    let linear = Operation::Linear {
        weight: bench.constant(query, Parameter::Weight, weight)?,
        bias: Some(bench.constant(query, Parameter::Bias, bias)?),
    };
    let q = bench.add(query, Part::Linear, linear, &[mean])?;

    let key = Unit::Attention(Projection::Key);
    let weight = bench.taken(key, Part::Linear, Parameter::Weight, &[c, c])?;
    bench.taken(key, Part::Linear, Parameter::Bias, &[c])?;
    let weight = bench.constant(key, Parameter::Weight, transposed(&weight, heads))?;
    let asked = bench.add(key, Part::Linear, each_head(weight, None, heads), &[q])?;

    let name = bench.layer(Unit::Head, Part::Gate);
    let positions_name = format!("{name}.{}", Parameter::Positions.name());
    bench.draft.tensor(&positions_name, positions)?;
    let pool = Operation::AttentionPool {
        positions: positions_name,
    };
    let z = bench.add(Unit::Head, Part::Gate, pool, &[x, asked])?;

    let value = Unit::Attention(Projection::Value);
    let weight = bench.taken(value, Part::Linear, Parameter::Weight, &[c, c])?;
    let weight = Tensor::new(&[c, c, 1, 1], weight.data())?;
    let weight = bench.constant(value, Parameter::Weight, weight)?;
    let bias = bench.parameter(value, Part::Linear, Parameter::Bias, &[c])?;
    let y = bench.add(
        value,
        Part::Linear,
        each_head(weight, Some(bias), heads),
        &[z],
    )?;

    let result = Unit::Attention(Projection::Result);
    let name = bench
        .naming
        .tensor(bench.plan, result, Part::Linear, Parameter::Bias);
    let out = bench
        .source
        .dims(&name)
        .and_then(|dims| dims.first().copied());
    let out = out.unwrap_or(c);
    let linear = Operation::Linear {
        weight: bench.parameter(result, Part::Linear, Parameter::Weight, &[out, c])?,
        bias: Some(bench.parameter(result, Part::Linear, Parameter::Bias, &[out])?),
    };
    bench.add(result, Part::Linear, linear, &[y])
}

/// A linear layer for the channels of each head by themselves.
const fn each_head(weight: String, bias: Option<String>, heads: usize) -> Operation {
    Operation::Conv2d {
        weight,
        bias,
        stride: [1; 2],
        padding: PaddingRule::all(0),
        dilation: [1; 2],
        groups: heads,
    }
}

/// The bias of a linear layer that reads `x + shift` of an `x`.
#[expect(
    clippy::cast_possible_truncation,
    reason = "the one rounding of the result"
)]
fn moved(weight: &Tensor, bias: &Tensor, shift: &[f32]) -> Tensor {
    let rows: Vec<&[f32]> = weight.data().chunks_exact(shift.len()).collect();
    Tensor::from_fn(bias.dims(), |i| {
        let products = rows[i].iter().zip(shift);
        let sum: f64 = products.map(|(&w, &s)| f64::from(w) * f64::from(s)).sum();
        (f64::from(bias.data()[i]) + sum) as f32
    })
}

/// Of each head's rows of a square matrix the transpose, over the root of their number.
#[expect(
    clippy::cast_possible_truncation,
    reason = "the one rounding of the result"
)]
fn transposed(weight: &Tensor, heads: usize) -> Tensor {
    let c = weight.dims().first().copied().unwrap_or_default();
    let rows = c / heads;
    let root = (rows as f64).sqrt();
    Tensor::from_fn(&[heads * c, rows, 1, 1], |i| {
        let (head, column, row) = (i / (c * rows), i / rows % c, i % rows);
        (f64::from(weight.data()[(head * rows + row) * c + column]) / root) as f32
    })
}

/// The words of `inspect` for it.
pub(super) const fn words() -> &'static str {
    "attention over all pixels, no classifier"
}
