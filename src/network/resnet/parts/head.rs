//! The head: pooling and classifier.

use super::{Bench, Sight, attention_pool};
use crate::error::Error;
use crate::graph::ValueId;
use crate::network::resnet::naming::{Part, Unit};
use crate::network::resnet::plan::{HeadPooling, Plan};
use crate::network::{Ends, Operation, PaddingRule, Parameter};

/// Usual names of classifiers; a number may follow, as in a list of layers.
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

/// What follows the last pool in a file's network.
pub(in super::super) struct Found {
    pub(in super::super) classifier: Option<String>,
    /// Modules that are not a known classifier; each name ends with a dot.
    pub(in super::super) left_out: Vec<String>,
    /// The remark about them.
    pub(in super::super) remark: String,
}

/// Finds the classifier among tensors outside the backbone, whose names start with `prefix`.
pub(in super::super) fn find(
    names: &[&str],
    prefix: &str,
    dims: impl Fn(&str) -> Option<Vec<usize>>,
) -> Found {
    let matrix = |name: &&str| -> Option<(String, Vec<usize>)> {
        let layer = name.strip_suffix(".weight")?;
        let dims = dims(name)?;
        // timm stores the classifier of pre-activated networks as a 1×1 convolution.
        let fits = dims.len() == 2 || matches!(dims[..], [_, _, 1, 1]) && is_known(prefix, layer);
        fits.then(|| (layer.to_owned(), dims[..2].to_vec()))
    };
    let found: Vec<(String, Vec<usize>)> = names.iter().filter_map(matrix).collect();
    let (classifier, why) = match &found[..] {
        [] => (None, ""),
        [(layer, _)] if is_known(prefix, layer) => (Some(layer.clone()), ""),
        [_] => (None, "whose name is not that of a known classifier"),
        _ => (None, "none of which is recognisably the classifier"),
    };
    if classifier.is_some() || found.is_empty() {
        return Found {
            classifier,
            left_out: Vec::new(),
            remark: String::new(),
        };
    }
    let modules = found.iter().map(|(layer, _)| {
        let beyond = beyond(prefix, layer);
        let shared = layer.len() - beyond.len();
        let own = beyond.split('.').next().unwrap_or(beyond);
        format!("{}{own}.", &layer[..shared])
    });
    // A module with convolution kernels is another network.
    let is_flat = |module: &String| {
        let mut inside = names
            .iter()
            .filter(|name| name.starts_with(module.as_str()));
        inside.all(|name| dims(name).is_none_or(|dims| dims.len() <= 2))
    };
    let shown = found
        .iter()
        .take(8)
        .map(|(name, dims)| format!("'{name}' {dims:?}"));
    let shown = shown.collect::<Vec<_>>().join(", ");
    Found {
        classifier: None,
        left_out: modules.filter(is_flat).collect(),
        remark: format!("after the last pool comes {shown}, {why}"),
    }
}

/// Whether a layer has a usual classifier name.
fn is_known(prefix: &str, layer: &str) -> bool {
    let name = beyond(prefix, layer);
    let number = |rest: &str| rest.bytes().all(|byte| byte.is_ascii_digit());
    NAMES.iter().any(|&known| {
        let rest = name.strip_prefix(known);
        rest.is_some_and(|rest| rest.is_empty() || rest.strip_prefix('.').is_some_and(number))
    })
}

/// A name without the leading modules that it shares with `prefix`.
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

/// Adds the head.
pub(in super::super) fn build(bench: &mut Bench<'_>, feature_map: ValueId) -> Result<Ends, Error> {
    let plan = bench.plan;
    let features = match plan.head.pooling {
        HeadPooling::Global => bench.add(
            Unit::Head,
            Part::Pool,
            Operation::GlobalAvgPool,
            &[feature_map],
        )?,
        HeadPooling::Attention(heads) => attention_pool::build(bench, feature_map, heads)?,
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
        HeadPooling::Attention(_) => attention_pool::words(),
        HeadPooling::Lesson => "2x2 average, flatten (HWC), linear",
    }
}
