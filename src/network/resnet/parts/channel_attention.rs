//! Efficient channel attention: each block rescales its output channels depending on their
//! neighbours (Wang et al. 2019, arXiv:1910.03151).
//!
//! A convolution along the channels is applied to the mean over all pixels; its sigmoid scales the
//! main path before the shortcut is added. In timm's `ecaresnet` it shows as `se.conv`.

use super::{Bench, BlockSite, Sight, listed};
use crate::error::Error;
use crate::graph::ValueId;
use crate::network::resnet::naming::{Part, Place, Unit};
use crate::network::resnet::plan::Plan;
use crate::network::{Decision, Operation, Parameter};

/// Reads the kernel size for each stage.
pub(in super::super) fn infer(sight: &Sight<'_>, plan: &mut Plan) {
    let taps = (0..plan.blocks.len()).map(|stage| {
        let unit = Unit::Channels(Place { stage, block: 0 });
        let dims = sight.dims(plan, unit, Part::Conv, Parameter::Weight)?;
        dims.last().copied()
    });
    plan.channel_taps = taps.collect::<Option<_>>().unwrap_or_default();
}

/// Adds it at the end of a main path.
pub(in super::super) fn build(
    bench: &mut Bench<'_>,
    site: &BlockSite,
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

/// What `inspect` says about it.
pub(in super::super) fn decision(plan: &Plan) -> Option<Decision> {
    (!plan.channel_taps.is_empty()).then(|| {
        let words = format!(
            "efficient channel attention, {} taps",
            listed(&plan.channel_taps)
        );
        Decision::certain("attention", words, "names and shapes of the weights")
    })
}
