//! Efficient channel attention: each block scales the channels that it gives by what their neighbours say
//! of them (Wang et al. 2019, arXiv:1910.03151).
//!
//! The mean over all pixels goes through a convolution along the channels, whose sigmoid scales the main
//! path before the shortcut is added. It shows as `se.conv` in timm's `ecaresnet`.

use super::{Bench, Sight, Site, listed};
use crate::error::Error;
use crate::graph::ValueId;
use crate::network::resnet::naming::{Part, Place, Unit};
use crate::network::resnet::plan::Plan;
use crate::network::{Decision, Operation, Parameter};

/// Reads the taps of each stage.
pub(in super::super) fn infer(sight: &Sight<'_>, plan: &mut Plan) {
    let taps = (0..plan.blocks.len()).map(|stage| {
        let unit = Unit::Channels(Place { stage, block: 0 });
        let dims = sight.dims(plan, unit, Part::Conv, Parameter::Weight)?;
        dims.last().copied()
    });
    plan.channel_taps = taps.collect::<Option<_>>().unwrap_or_default();
}

/// Lays it out at the end of a main path.
pub(in super::super) fn build(
    bench: &mut Bench<'_>,
    site: &Site,
    x: ValueId,
) -> Result<ValueId, Error> {
    let Some(&taps) = bench.plan.channel_taps.get(site.place.stage) else {
        return Ok(x);
    };
    let unit = Unit::Channels(site.place);
    let y = bench.add(unit, Part::Pool, Operation::GlobalAvgPool, &[x])?;
    let weight = bench.parameter(unit, Part::Conv, Parameter::Weight, &[1, 1, taps])?;
    let y = bench.add(unit, Part::Conv, Operation::ChannelConv { weight }, &[y])?;
    bench.add(unit, Part::Gate, Operation::Gate, &[x, y])
}

/// What `inspect` says of it.
pub(in super::super) fn decision(plan: &Plan) -> Option<Decision> {
    (!plan.channel_taps.is_empty()).then(|| {
        let words = format!(
            "efficient channel attention, {} taps",
            listed(&plan.channel_taps)
        );
        Decision::certain("attention", words, "names and shapes of the weights")
    })
}
