//! Anti-aliasing: smoothing an image before it is halved (Zhang 2019, arXiv:1904.11486).
//!
//! timm's `resnetblur` has a blur pool after the ReLU of each convolution that would otherwise
//! stride, and after a max pool that no longer strides; `resnetaa` has 2×2 average pools there, and
//! one in place of the max pool. The filters are fixed, so recent files show neither; only the name
//! of the architecture does. Older files contain the filter of every blur pool.

use std::collections::BTreeMap;

use super::{Bench, BlockSite, Sight};
use crate::error::Error;
use crate::graph::ValueId;
use crate::network::resnet::naming::{Part, Place, Unit};
use crate::network::resnet::plan::{AntiAlias, Plan};
use crate::network::resnet::settings::{self, STATED};
use crate::network::resnet::stated::Stated;
use crate::network::{Decision, Operation, PaddingRule, Parameter};

/// The name of the setting.
const SETTING: &str = "anti_alias";

/// The kind that timm's architecture name states after `resnet` or `resnext`.
fn named(architecture: &str) -> Option<AntiAlias> {
    let base = architecture
        .trim_start_matches("wide_")
        .trim_start_matches("se");
    let rest = base
        .strip_prefix("resnet")
        .or_else(|| base.strip_prefix("resnext"))?;
    if rest.starts_with("blur") {
        Some(AntiAlias::Blur)
    } else if rest.starts_with("aa") {
        Some(AntiAlias::Average)
    } else {
        None
    }
}

/// Infers anti-aliasing from the tensors.
pub(in super::super) fn infer(sight: &Sight<'_>, plan: &mut Plan) {
    let stages = 0..plan.blocks.len();
    let mut units = stages.map(|stage| Unit::Blur(Place { stage, block: 0 }));
    if units.any(|unit| filter(sight, plan, unit).is_some()) {
        plan.anti_alias = Some(AntiAlias::Blur);
    }
}

fn filter(sight: &Sight<'_>, plan: &Plan, unit: Unit) -> Option<Vec<usize>> {
    sight.dims(plan, unit, Part::Pool, Parameter::Filter)
}

/// If the tensors do not show it, decides by what is asked for, by the name of the architecture, or by
/// that of the file.
pub(in super::super) fn decide(
    plan: &mut Plan,
    stated: &Stated,
    asked: &BTreeMap<String, String>,
) -> Result<Option<Decision>, Error> {
    let what = "anti-aliasing";
    let words = |kind| match kind {
        None => "none",
        Some(AntiAlias::Blur) => "blur pools where the image is halved",
        Some(AntiAlias::Average) => "2x2 average pools where the image is halved",
    };
    let shown = plan.anti_alias;
    if let Some(text) = asked.get(SETTING) {
        plan.anti_alias = match text.as_str() {
            "blur" => Some(AntiAlias::Blur),
            "average" => Some(AntiAlias::Average),
            "none" => None,
            other => return Err(settings::refuse(SETTING, format!("is not '{other}'"))),
        };
        if shown.is_some() && plan.anti_alias != shown {
            let reason = "is not that of the network, whose filters are in the file";
            return Err(settings::refuse(SETTING, reason));
        }
        return Ok(Some(Decision::certain(
            what,
            words(plan.anti_alias),
            STATED,
        )));
    }
    if shown.is_some() {
        let evidence = "names of the tensors";
        return Ok(Some(Decision::certain(what, words(shown), evidence)));
    }
    if let Some((name, evidence)) = stated.architecture() {
        plan.anti_alias = named(name);
        let decision = Decision::certain(what, words(plan.anti_alias), evidence);
        return Ok(Some(decision).filter(|_| plan.anti_alias.is_some()));
    }
    plan.anti_alias = stated
        .named_by_path(|name| named(name).is_some())
        .and_then(named);
    let evidence = "the name of the file; the setting anti_alias states it";
    let decision = Decision::assumed(what, words(plan.anti_alias), evidence);
    Ok(Some(decision).filter(|_| plan.anti_alias.is_some()))
}

/// The stride of a convolution in a block: 1 if an anti-aliasing pool strides in its place.
pub(in super::super) fn stride(plan: &Plan, stride: usize) -> usize {
    if plan.anti_alias.is_some() { 1 } else { stride }
}

/// Adds the pool of a block, after the convolution that would stride.
pub(in super::super) fn build(
    bench: &mut Bench<'_>,
    site: &BlockSite,
    x: ValueId,
) -> Result<ValueId, Error> {
    match bench.plan.anti_alias {
        Some(kind) if site.stride > 1 => pool(bench, kind, Unit::Blur(site.place), site.stride, x),
        _ => Ok(x),
    }
}

/// Adds what replaces a max pool that strides; `max_pool` has its window.
pub(in super::super) fn build_stem(
    bench: &mut Bench<'_>,
    unit: Unit,
    max_pool: impl FnOnce(usize) -> Operation,
    x: ValueId,
) -> Result<ValueId, Error> {
    match bench.plan.anti_alias {
        None => bench.add(unit, Part::Pool, max_pool(2), &[x]),
        Some(AntiAlias::Average) => pool(bench, AntiAlias::Average, unit, 2, x),
        Some(AntiAlias::Blur) => {
            let x = bench.add(unit, Part::Max, max_pool(1), &[x])?;
            pool(bench, AntiAlias::Blur, unit, 2, x)
        }
    }
}

fn pool(
    bench: &mut Bench<'_>,
    kind: AntiAlias,
    unit: Unit,
    stride: usize,
    x: ValueId,
) -> Result<ValueId, Error> {
    let operation = match kind {
        AntiAlias::Average => Operation::AvgPool {
            kernel: [stride; 2],
            stride: [stride; 2],
            padding: PaddingRule::all(0),
            count_padding: false,
        },
        AntiAlias::Blur => {
            bench.skip(unit, Part::Pool, Parameter::Filter)?;
            Operation::BlurPool {
                stride: [stride; 2],
            }
        }
    };
    bench.add(unit, Part::Pool, operation, &[x])
}

/// The words of `inspect` for the replacement of the max pool.
pub(in super::super) const fn pool_words(kind: AntiAlias) -> &'static str {
    match kind {
        AntiAlias::Blur => "3x3/1, padding 1, and a blur pool/2",
        AntiAlias::Average => "none: 2x2/2 average",
    }
}
