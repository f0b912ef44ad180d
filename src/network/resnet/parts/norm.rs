//! Normalisation: batch or group normalisation, and standardised kernels.
//!
//! Group normalisation (Wu & He 2018, arXiv:1803.08494) shows by its lack of running statistics. A
//! batch normalisation without them looks the same, so a statement must decide, or timm's names of
//! pre-activated networks, all of which then use group normalisation. `BiT` (Kolesnikov et al.
//! 2019, arXiv:1912.11370) also standardises its kernels (Qiao et al. 2019, arXiv:1903.10520).

use std::collections::BTreeMap;

use super::{Sight, unexplained};
use crate::error::Error;
use crate::network::resnet::naming::{Part, Place, Unit};
use crate::network::resnet::plan::{Norm, Plan};
use crate::network::resnet::settings::{self, STATED};
use crate::network::resnet::stated::Stated;
use crate::network::{Decision, Parameter};
use crate::tensor::Tensor;

/// The number of groups if none is stated.
const GROUPS: usize = 32;
/// The epsilon of timm's `StdConv2d` in `BiT`.
const EPSILON: f64 = 1e-8;

/// Infers the kind from the tensors.
pub(in super::super) fn infer(sight: &Sight<'_>, plan: &mut Plan) {
    let unit = Unit::Main(Place { stage: 0, block: 0 }, 0);
    let has = |parameter| sight.dims(plan, unit, Part::Norm, parameter).is_some();
    if has(Parameter::Gamma) && !has(Parameter::Mean) && !has(Parameter::Variance) {
        plan.norm = Norm::Group(GROUPS);
        // timm's other networks of this kind have a stem of three convolutions.
        plan.standardised = plan.pre_activation && plan.stem.len() == 1;
    }
}

/// Decides by what is stated, or refuses to guess.
pub(in super::super) fn decide(
    plan: &mut Plan,
    stated: &Stated,
    asked: &BTreeMap<String, String>,
) -> Result<Vec<Decision>, Error> {
    let Norm::Group(usual) = plan.norm else {
        let of_groups = ["norm", "norm_groups", "weight_standardization"];
        let why = "is not for a network whose normalisations have running statistics";
        settings::refuse_others(asked, |name| !of_groups.contains(&name), why)?;
        return Ok(Vec::new());
    };
    let is_named = |name: &str| name.contains("_gn") || name.contains("_bit");
    let named = stated.architecture().filter(|(name, _)| is_named(name));
    let of_file = |name: &str| name.starts_with("resne") && is_named(name);
    let by_path = stated.named_by_path(of_file).is_some();
    let evidence = if asked.get("norm").is_some_and(|norm| norm == "group") {
        STATED
    } else if let Some((_, evidence)) = named {
        evidence
    } else if by_path {
        "the name of the file; norm=group states it"
    } else if plan.pre_activation {
        "the names are timm's, whose networks without running statistics have it"
    } else {
        let reason = "its normalisations have no running mean: they are group normalisations, or batch \
                      normalisations that kept no statistics and cannot be computed; if they are the \
                      first, state norm=group, and norm_groups where there are not 32";
        return Err(unexplained(plan, reason));
    };
    let groups = match asked.get("norm_groups") {
        Some(text) => settings::number("norm_groups", text, 1..=1 << 16)?,
        None => usual,
    };
    plan.norm = Norm::Group(groups);
    let words = format!("{groups} groups");
    let what = "normalisation";
    let mut found = vec![if asked.contains_key("norm_groups") {
        Decision::certain(what, words, STATED)
    } else if by_path && evidence != STATED && named.is_none() {
        Decision::assumed(what, words, evidence)
    } else if evidence == STATED {
        Decision::assumed(what, words, "the usual number; norm_groups states another")
    } else {
        Decision::inferred(what, words, evidence)
    }];
    if let Some(text) = asked.get("weight_standardization") {
        plan.standardised = settings::flag("weight_standardization", text)?;
        let words = if plan.standardised {
            "standardised"
        } else {
            "as they are"
        };
        found.push(Decision::certain("kernels", words, STATED));
    } else if plan.standardised {
        found.push(Decision::inferred("kernels", "standardised", evidence));
    }
    Ok(found)
}

/// A kernel standardised to mean 0 and variance 1 for each output channel.
#[expect(
    clippy::cast_possible_truncation,
    reason = "the one rounding of the result"
)]
pub(super) fn standardised(kernel: &Tensor) -> Tensor {
    let out_c = kernel.dims().first().copied().unwrap_or(1).max(1);
    let len = (kernel.len() / out_c).max(1);
    let statistics: Vec<[f64; 2]> = kernel
        .data()
        .chunks(len)
        .map(|weights| {
            let count = weights.len() as f64;
            let mean = weights.iter().map(|&w| f64::from(w)).sum::<f64>() / count;
            let squares = weights.iter().map(|&w| (f64::from(w) - mean).powi(2));
            [mean, (squares.sum::<f64>() / count + EPSILON).sqrt()]
        })
        .collect();
    Tensor::from_fn(kernel.dims(), |i| {
        let [mean, deviation] = statistics[i / len];
        ((f64::from(kernel.data()[i]) - mean) / deviation) as f32
    })
}
