//! The head: pooling and classifier.

use std::collections::{BTreeMap, BTreeSet};

use super::{Bench, Sight, attention_pool};
use crate::error::Error;
use crate::graph::ValueId;
use crate::network::resnet::naming::{Part, Unit};
use crate::network::resnet::plan::{HeadPooling, Hidden, Plan};
use crate::network::resnet::settings::{self, STATED};
use crate::network::resnet::stated::Stated;
use crate::network::{Decision, Ends, Operation, PaddingRule, Parameter};

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

/// Modules around a whole network that say nothing about it.
const WRAPPERS: &[&str] = &[
    "module",
    "model",
    "net",
    "network",
    "base_model",
    "_orig_mod",
];

/// What follows the last pool in a file's network.
#[derive(Debug, Default)]
pub(in super::super) struct Found {
    pub(in super::super) classifier: Option<String>,
    /// The layers before the classifier; that some are clamped by a ReLU is a guess.
    pub(in super::super) hidden: Vec<Hidden>,
    /// Modules that are not a known classifier; each name ends with a dot.
    pub(in super::super) left_out: Vec<String>,
    /// The remark about them.
    pub(in super::super) remark: String,
}

/// Finds the classifier among tensors outside the backbone, whose names start with `prefix`: the one that
/// is `asked` for, or one with a usual name.
pub(in super::super) fn find(
    names: &[&str],
    prefix: &str,
    dims: impl Fn(&str) -> Option<Vec<usize>>,
    asked: Option<&str>,
) -> Result<Found, Error> {
    let matrix = |name: &&str| -> Option<(String, Vec<usize>)> {
        let layer = name.strip_suffix(".weight")?;
        let dims = dims(name)?;
        // timm stores the classifier of pre-activated networks as a 1×1 convolution.
        let fits = dims.len() == 2 || matches!(dims[..], [_, _, 1, 1]) && is_known(prefix, layer);
        fits.then(|| (layer.to_owned(), dims[..2].to_vec()))
    };
    let found: Vec<(String, Vec<usize>)> = names.iter().filter_map(matrix).collect();
    let shown = found
        .iter()
        .take(8)
        .map(|(name, dims)| format!("'{name}' {dims:?}"));
    let shown = shown.collect::<Vec<_>>().join(", ");
    let (classifier, why) = if let Some(asked) = asked {
        let is_asked = |(layer, _): &&(String, _)| layer == asked || beyond(prefix, layer) == asked;
        let Some((layer, _)) = found.iter().find(is_asked) else {
            let reason = match &shown[..] {
                "" => "after the last pool comes no linear layer".to_owned(),
                _ => format!("after the last pool comes {shown}"),
            };
            return Err(Error::Model {
                model: format!("classifier '{asked}'"),
                reason: format!("there is none of this name: {reason}"),
            });
        };
        (Some(layer.as_str()), "")
    } else {
        match &found[..] {
            [] => (None, ""),
            [(layer, _)] if is_known(prefix, layer) => (Some(layer.as_str()), ""),
            [_] => (None, "whose name is not that of a known classifier"),
            several => (
                last_of_list(prefix, several),
                "none of which is recognisably the classifier",
            ),
        }
    };
    let hidden = classifier.and_then(|layer| hidden(names, layer, &dims));
    if let (Some(layer), Some(hidden)) = (classifier, hidden) {
        let is_used = |name: &str| {
            let of = |layer: &str| {
                name.strip_prefix(layer)
                    .is_some_and(|rest| rest.starts_with('.'))
            };
            of(layer) || hidden.iter().any(|hidden| of(&hidden.name))
        };
        let others = found
            .iter()
            .filter(|(other, _)| !is_used(&format!("{other}.")));
        let others: Vec<&str> = others.map(|(layer, _)| layer.as_str()).collect();
        return Ok(Found {
            left_out: modules(names, prefix, &others, &dims, is_used),
            classifier: Some(layer.to_owned()),
            hidden,
            remark: String::new(),
        });
    }
    if found.is_empty() {
        return Ok(Found::default());
    }
    let all: Vec<&str> = found.iter().map(|(layer, _)| layer.as_str()).collect();
    let why = match why {
        "" => "and before the classifier comes what is neither linear nor a normalisation",
        why => why,
    };
    Ok(Found {
        left_out: modules(names, prefix, &all, &dims, |_| false),
        remark: format!(
            "after the last pool comes {shown}, {why}; the setting classifier=NAME names it"
        ),
        ..Found::default()
    })
}

/// The modules of linear layers that are not used, without those that have convolution kernels, which are
/// other networks, and those of which something is used.
fn modules(
    names: &[&str],
    prefix: &str,
    layers: &[&str],
    dims: impl Fn(&str) -> Option<Vec<usize>>,
    is_used: impl Fn(&str) -> bool,
) -> Vec<String> {
    let module = |layer: &&str| {
        let beyond = beyond(prefix, layer);
        let shared = layer.len() - beyond.len();
        let own = beyond.split('.').next().unwrap_or(beyond);
        let module = format!("{}{own}.", &layer[..shared]);
        let inside = |name: &&&str| name.starts_with(module.as_str());
        match names.iter().filter(inside).any(|name| is_used(name)) {
            true => format!("{layer}."),
            false => module,
        }
    };
    let is_flat = |module: &String| {
        let mut inside = names
            .iter()
            .filter(|name| name.starts_with(module.as_str()));
        inside.all(|name| dims(name).is_none_or(|dims| dims.len() <= 2))
    };
    layers.iter().map(module).filter(is_flat).collect()
}

/// The last layer of a list of linear layers with a usual classifier name, if the list is all there is.
fn last_of_list<'a>(prefix: &str, found: &'a [(String, Vec<usize>)]) -> Option<&'a str> {
    let numbered = found.iter().map(|(layer, _)| numbered(layer));
    let mut numbered = numbered.collect::<Option<Vec<_>>>()?;
    numbered.sort_by_key(|&(_, number)| number);
    let &(list, number) = numbered.last()?;
    let one = numbered.iter().all(|&(other, _)| other == list);
    if !one || !is_known(prefix, list) || may_project(prefix, list) {
        return None;
    }
    let ends = |(layer, _): &&(String, _)| self::numbered(layer) == Some((list, number));
    found.iter().find(ends).map(|(layer, _)| layer.as_str())
}

/// Whether several layers after the last pool may be a projection that self-supervised training adds to an
/// encoder, which is no classifier. In a network that is there to classify, the backbone is named as such, or
/// the only thing.
fn may_project(prefix: &str, list: &str) -> bool {
    let is_beside = !list.starts_with(prefix);
    let modules = prefix.split_terminator('.');
    !modules.into_iter().all(|module| {
        WRAPPERS.contains(&module)
            || module.starts_with("resne")
            || is_beside && module == "backbone"
    })
}

/// The name of a list and the number of a layer in it: `fc` and 3 of `fc.3`.
fn numbered(layer: &str) -> Option<(&str, usize)> {
    let (list, number) = layer.rsplit_once('.')?;
    Some((list, number.parse().ok()?))
}

/// The layers before the classifier in the list that it belongs to, such as `nn.Sequential`; `None` if they
/// do not form a chain of linear layers and batch normalisations. Numbers without parameters are gaps: between
/// two linear layers, the first gap is taken for a ReLU.
fn hidden(
    names: &[&str],
    classifier: &str,
    dims: impl Fn(&str) -> Option<Vec<usize>>,
) -> Option<Vec<Hidden>> {
    let Some((list, last)) = numbered(classifier) else {
        return Some(Vec::new());
    };
    let inside = names.iter().filter_map(|name| {
        let (layer, _) = name.rsplit_once('.')?;
        let (other, number) = numbered(layer)?;
        (other == list && number < last).then_some(number)
    });
    let numbers: BTreeSet<usize> = inside.collect();
    let mut hidden: Vec<Hidden> = Vec::new();
    let of = |number: usize, parameter: Parameter| {
        dims(&format!("{list}.{number}.{}", parameter.name()))
    };
    let mut may_clamp = false;
    for (&number, next) in numbers.iter().zip(numbers.iter().skip(1).chain([&last])) {
        let (weight, mean) = (of(number, Parameter::Weight)?, of(number, Parameter::Mean));
        let (length, is_norm) = match (&weight[..], mean) {
            (&[length, _], None) => (length, false),
            (&[length], Some(mean)) if mean == weight => (length, true),
            _ => return None,
        };
        may_clamp |= !is_norm;
        let clamps = may_clamp && next - number > 1;
        may_clamp &= !clamps;
        hidden.push(Hidden {
            name: format!("{list}.{number}"),
            length,
            is_norm,
            clamps,
        });
    }
    Some(hidden)
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
    plan.head.hidden = sight.naming.hidden().to_vec();
    if let (false, Some(classifier)) = (plan.head.hidden.is_empty(), sight.naming.classifier()) {
        classifier.clone_into(&mut plan.head.name);
    }
}

/// Decides how the head pools, and whether each of its layers is followed by a ReLU.
pub(in super::super) fn decide(
    plan: &mut Plan,
    stated: &Stated,
    asked: &BTreeMap<String, String>,
) -> Result<Vec<Decision>, Error> {
    let mut found = Vec::new();
    let pool = match asked.get("global_pool") {
        Some(pool) => Some((pool.as_str(), STATED)),
        None => stated.pool(),
    };
    if let Some((pool, evidence)) = pool {
        if plan.head.pooling != HeadPooling::Global {
            let why = "is not for this network, whose last pool shows in its tensors";
            settings::refuse_others(asked, |name| name != "global_pool", why)?;
        } else if pool == "max" {
            plan.head.pooling = HeadPooling::Max;
            found.push(Decision::certain("global pool", "maximum", evidence));
        } else if pool != "avg" {
            return Err(settings::refuse("global_pool", format!("is not '{pool}'")));
        }
    }
    if let Some(text) = asked.get("head_activation") {
        if !["relu", "none"].contains(&text.as_str()) {
            return Err(settings::refuse(
                "head_activation",
                format!("is not '{text}'"),
            ));
        }
        if plan.head.hidden.is_empty() {
            let why = "is for networks with several linear layers after the last pool";
            settings::refuse_others(asked, |name| name != "head_activation", why)?;
        }
    }
    if plan.head.hidden.is_empty() {
        return Ok(found);
    }
    let stated = asked.get("head_activation");
    let guessed = plan.head.hidden.iter().any(|layer| layer.clamps);
    if stated.is_some_and(|text| text == "none") {
        for layer in &mut plan.head.hidden {
            layer.clamps = false;
        }
    }
    let what = "layers of head";
    let words = hidden_words(plan);
    found.push(if stated.is_some() {
        Decision::certain(what, words, STATED)
    } else if guessed {
        let evidence = "a number without weights comes between them, which is a ReLU in most heads; \
                        head_activation=none states that there is none";
        Decision::assumed(what, words, evidence)
    } else {
        Decision::certain(what, words, "numbers of the layers")
    });
    Ok(found)
}

/// The layers after the last pool, as `inspect` shows them.
fn hidden_words(plan: &Plan) -> String {
    let mut words = Vec::new();
    for layer in &plan.head.hidden {
        words.push(match layer.is_norm {
            true => "normalised".to_owned(),
            false => format!("linear to {}", layer.length),
        });
        words.extend(layer.clamps.then(|| "ReLU".to_owned()));
    }
    words.push("classifier".to_owned());
    words.join(", ")
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
        HeadPooling::Max => bench.add(
            Unit::Head,
            Part::Pool,
            Operation::GlobalMaxPool,
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
    let features = hide(bench, features)?;
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

/// Adds the layers between the pool and the classifier.
fn hide(bench: &mut Bench<'_>, features: ValueId) -> Result<ValueId, Error> {
    let mut x = features;
    for (n, layer) in bench.plan.head.hidden.iter().enumerate() {
        let unit = Unit::Hidden(n);
        let length = bench.draft.shape(x).c;
        let mut parameter =
            |parameter, dims: &[usize]| bench.parameter(unit, Part::Linear, parameter, dims);
        let operation = if layer.is_norm {
            Operation::BatchNorm {
                gamma: parameter(Parameter::Gamma, &[length])?,
                beta: parameter(Parameter::Beta, &[length])?,
                mean: parameter(Parameter::Mean, &[length])?,
                variance: parameter(Parameter::Variance, &[length])?,
                epsilon: bench.plan.epsilon,
                of_batch: false,
            }
        } else {
            let weight = parameter(Parameter::Weight, &[layer.length, length])?;
            let biased = bench.has(unit, Part::Linear, Parameter::Bias);
            let bias = biased
                .then(|| bench.parameter(unit, Part::Linear, Parameter::Bias, &[layer.length]));
            Operation::Linear {
                weight,
                bias: bias.transpose()?,
            }
        };
        x = bench.add(unit, Part::Linear, operation, &[x])?;
        if layer.clamps {
            x = bench.relu(unit, x)?;
        }
    }
    Ok(x)
}

/// The words of `inspect` for the head.
pub(in super::super) fn words(plan: &Plan) -> &'static str {
    match plan.head.pooling {
        HeadPooling::Max if plan.classes.is_none() => "global maximum, no classifier",
        HeadPooling::Max => "global maximum, linear",
        HeadPooling::Global if plan.classes.is_none() => "global average, no classifier",
        HeadPooling::Global if plan.pre_activation => "normalised, global average, linear",
        HeadPooling::Global => "global average, linear",
        HeadPooling::Attention(_) => attention_pool::words(),
        HeadPooling::Lesson => "2x2 average, flatten (HWC), linear",
    }
}
