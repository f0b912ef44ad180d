//! The head: pooling and classifier.

use super::{Bench, Sight};
use crate::error::Error;
use crate::graph::ValueId;
use crate::network::resnet::naming::{Part, Unit};
use crate::network::resnet::plan::{HeadPooling, Plan};
use crate::network::{Ends, Operation, PaddingRule, Parameter};

/// The names of classifiers, alone or as the last of several numbered layers.
const NAMES: &[&str] = &[
    "fc",
    "head",
    "head.fc",
    "classifier",
    "linear",
    "last_linear",
    "output",
    "logits",
];

/// Finds the classifier among the layers outside a backbone whose names begin with `prefix`.
pub(in super::super) fn find<'a>(
    layers: impl Iterator<Item = &'a str>,
    prefix: &str,
    dims: impl Fn(&str) -> Option<Vec<usize>>,
) -> Result<Option<String>, Error> {
    let matrix = |layer: &str| match dims(&format!("{layer}.weight")).as_deref() {
        // timm stores the classifier of its pre-activated networks as a 1×1 convolution.
        Some(&[out_c, in_c] | &[out_c, in_c, 1, 1]) => Some([out_c, in_c]),
        _ => None,
    };
    let found: Vec<(&str, [usize; 2])> = layers
        .filter_map(|layer| Some((layer, matrix(layer)?)))
        .collect();
    let known = |layer: &str| {
        let name = beyond(prefix, layer);
        let number = |rest: &str| rest.bytes().all(|byte| byte.is_ascii_digit());
        NAMES.iter().any(|&known| {
            let rest = name.strip_prefix(known);
            rest.is_some_and(|rest| rest.is_empty() || rest.strip_prefix('.').is_some_and(number))
        })
    };
    let reason = match found[..] {
        [] => return Ok(None),
        [(layer, _)] if known(layer) => return Ok(Some(layer.to_owned())),
        [_] => "the name of its classifier is not known; rename it to 'fc'",
        _ => "it has several layers behind its last pool, of which one must be the classifier",
    };
    let shown = found.iter().take(8);
    let shown: Vec<String> = shown
        .map(|(name, dims)| format!("'{name}' {dims:?}"))
        .collect();
    Err(Error::WeightsUnrecognised {
        reason: format!("{reason}: there are {}", shown.join(", ")),
        hint: None,
    })
}

/// A name without the modules that it shares with a prefix.
fn beyond<'a>(prefix: &str, mut name: &'a str) -> &'a str {
    for module in prefix.split_inclusive('.') {
        match name.strip_prefix(module) {
            Some(rest) => name = rest,
            None => break,
        }
    }
    name
}

/// Infers the number of classes.
pub(in super::super) fn infer(sight: &Sight<'_>, plan: &mut Plan) {
    let has = sight.naming.classifier().is_some();
    let dims = sight.dims(plan, Unit::Head, Part::Linear, Parameter::Weight);
    plan.classes = dims.and_then(|dims| dims.first().copied()).filter(|_| has);
}

/// Lays out the head.
pub(in super::super) fn build(bench: &mut Bench<'_>, feature_map: ValueId) -> Result<Ends, Error> {
    let plan = bench.plan;
    let features = match plan.head.pooling {
        HeadPooling::Global => bench.add(
            Unit::Head,
            Part::Pool,
            Operation::GlobalAvgPool,
            &[feature_map],
        )?,
        HeadPooling::Lesson => {
            let pool = Operation::AvgPool {
                kernel: [2; 2],
                stride: [2; 2],
                padding: PaddingRule::all(0),
                count_padding: false,
            };
            let pooled = bench.add(Unit::Head, Part::Pool, pool, &[feature_map])?;
            let flatten = Operation::Flatten {
                channels_last: true,
            };
            bench.add(Unit::Head, Part::Flatten, flatten, &[pooled])?
        }
    };
    let logits = plan.classes.map(|classes| {
        let dims = [classes, bench.draft.shape(features).c];
        let [weighted, biased] = [Parameter::Weight, Parameter::Bias]
            .map(|parameter| bench.has(Unit::Head, Part::Linear, parameter));
        let weight = bench.parameter(Unit::Head, Part::Linear, Parameter::Weight, &dims)?;
        let bias = (biased || !weighted)
            .then(|| bench.parameter(Unit::Head, Part::Linear, Parameter::Bias, &[classes]));
        let operation = Operation::Linear {
            weight,
            bias: bias.transpose()?,
        };
        bench.add(Unit::Head, Part::Linear, operation, &[features])
    });
    let logits = logits.transpose()?;
    Ok(Ends {
        feature_map,
        features,
        logits,
    })
}

/// The words of `inspect` for the head.
pub(in super::super) fn words(plan: &Plan) -> &'static str {
    match plan.head.pooling {
        HeadPooling::Global if plan.classes.is_none() => "global average, no classifier",
        HeadPooling::Global if plan.pre_activation => "normalised, global average, linear",
        HeadPooling::Global => "global average, linear",
        HeadPooling::Lesson => "2x2 average, flatten (HWC), linear",
    }
}
