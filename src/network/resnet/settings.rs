//! Settings: facts about a network that leave no trace in its file, so the caller states them.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::RangeInclusive;

use super::parts::stem;
use super::plan::{MaxPool, Plan};
use super::stated::{CONFIG, Config};
use crate::error::Error;
use crate::network::{Decision, Fill, PaddingRule};

/// Evidence: a setting by the caller.
pub(super) const STATED: &str = "stated";

/// All settings, in the order in which they are applied, and their possible values.
const SETTINGS: &[(&str, &str)] = &[
    ("stem_stride", "1 or 2"),
    ("stem_pool", "none or max"),
    ("pool_padding", "0 or 1"),
    ("ceil_mode", "true or false"),
    ("last_stride", "1 or 2"),
    ("output_stride", "8, 16 or 32"),
    ("anti_alias", "blur, average or none"),
    ("norm", "group"),
    ("norm_groups", "a number"),
    ("weight_standardization", "true or false"),
    ("global_pool", "avg or max"),
    ("classifier", "the name of a layer"),
    ("head_activation", "relu or none"),
    ("bgr", "true or false"),
];

/// Applies settings to a plan. Those about anti-aliasing, normalisation, the head and the image are
/// applied elsewhere, where these are decided.
pub(super) fn apply(
    plan: &mut Plan,
    config: &Config,
    stated: &BTreeMap<String, String>,
) -> Result<Vec<Decision>, Error> {
    let known = |name: &String| SETTINGS.iter().any(|(known, _)| known == name);
    if let Some(name) = stated.keys().find(|name| !known(name)) {
        return Err(refuse(name, "is no setting"));
    }
    let get = |name| stated.get(name).map(String::as_str);
    let mut found = Vec::new();
    let mut pool_stated = false;
    if let Some(text) = get("stem_stride") {
        plan.stem_stride = number("stem_stride", text, 1..=2)?;
        found.push(decision("stem stride", plan.stem_stride));
    }
    if let Some(text) = get("stem_pool") {
        pool_stated = true;
        plan.max_pool = match text {
            "none" => None,
            "max" => plan.max_pool.or(Some(MaxPool::new(PaddingRule::all(1)))),
            other => return Err(refuse("stem_pool", format!("is not '{other}'"))),
        };
    }
    if let Some(text) = get("pool_padding") {
        let sides = number("pool_padding", text, 0..=1)?;
        pool_stated = true;
        let pool = pool_of(plan, "pool_padding")?;
        pool.padding.sides = PaddingRule::all(sides).sides;
    }
    if let Some(text) = get("ceil_mode") {
        let ceil = flag("ceil_mode", text)?;
        pool_stated = true;
        let pool = pool_of(plan, "ceil_mode")?;
        pool.padding.fill = if ceil { Fill::Ceil } else { Fill::Nothing };
    }
    if pool_stated {
        found.push(decision("max pool", stem::pool_words(plan)));
    }
    if let (Some(text), Some(last)) = (get("last_stride"), plan.strides.last_mut()) {
        *last = number("last_stride", text, 1..=2)?;
        found.push(decision("last stride", text));
    }
    if let Some(text) = get("output_stride") {
        let stride = number("output_stride", text, 8..=32)?;
        if !stride.is_power_of_two() {
            return Err(refuse("output_stride", format!("is not '{text}'")));
        }
        dilate(plan, stride);
        found.push(decision("output stride", text));
    } else if let Some(stride) = config.output_stride {
        dilate(plan, stride);
        found.push(Decision::certain(
            "output stride",
            stride.to_string(),
            CONFIG,
        ));
    }
    if get("norm").is_some_and(|norm| norm != "group") {
        return Err(refuse("norm", "says what has no running statistics"));
    }
    Ok(found)
}

/// Refuses settings that do not apply to the network.
pub(super) fn refuse_others(
    stated: &BTreeMap<String, String>,
    applies: impl Fn(&str) -> bool,
    why: &str,
) -> Result<(), Error> {
    let other = stated.keys().find(|name| !applies(name));
    other.map_or(Ok(()), |name| Err(refuse(name, why)))
}

/// Replaces strides by dilation once the image has been reduced by `output_stride`.
fn dilate(plan: &mut Plan, output_stride: usize) {
    let mut reduced = plan.stem_stride * if plan.max_pool.is_some() { 2 } else { 1 };
    let mut dilation = 1;
    plan.dilations.clear();
    for stride in &mut plan.strides {
        if reduced >= output_stride {
            dilation *= *stride;
            *stride = 1;
        } else {
            reduced *= *stride;
        }
        plan.dilations.push(dilation);
    }
}

fn decision(what: &'static str, words: impl fmt::Display) -> Decision {
    Decision::certain(what, words.to_string(), STATED)
}

fn pool_of<'a>(plan: &'a mut Plan, name: &str) -> Result<&'a mut MaxPool, Error> {
    let pool = plan.max_pool.as_mut();
    pool.ok_or_else(|| refuse(name, "is of a max pool, and there is none"))
}

/// Parses a number within a range.
pub(super) fn number(name: &str, text: &str, range: RangeInclusive<usize>) -> Result<usize, Error> {
    let number = text
        .parse()
        .ok()
        .filter(|number: &usize| range.contains(number));
    number.ok_or_else(|| refuse(name, format!("is not '{text}'")))
}

/// Parses `true` or `false`.
pub(super) fn flag(name: &str, text: &str) -> Result<bool, Error> {
    text.parse()
        .map_err(|_| refuse(name, format!("is not '{text}'")))
}

/// The error for a setting that makes no sense; it lists all that exist.
pub(super) fn refuse(name: &str, reason: impl fmt::Display) -> Error {
    let all: Vec<String> = SETTINGS
        .iter()
        .map(|(name, values)| format!("{name} ({values})"))
        .collect();
    Error::Setting {
        name: name.to_owned(),
        reason: format!("it {reason}; there are {}", all.join(", ")),
    }
}
