//! Squeeze-and-excitation: each block scales its output channels by factors that depend on all
//! pixels.
//!
//! The mean over all pixels passes through two 1×1 convolutions with fewer channels in between,
//! whose sigmoid scales the main path before the shortcut is added (Hu, Shen & Sun 2018,
//! arXiv:1709.01507). It shows as `se.fc1` and `se.fc2` in timm's `seresnet`, and as `se_module` in
//! its `legacy_seresnet`, which has the authors' own weights and follows their Caffe network: plain
//! bottlenecks stride in their first 1×1, the max pool has no padding but rounds its output size
//! up, and both 3×3 of a basic block end with a ReLU.

use super::{Bench, BlockSite, Conv, Sight, listed};
use crate::error::Error;
use crate::graph::ValueId;
use crate::network::resnet::naming::{Part, Place, Unit};
use crate::network::resnet::plan::{Block, MaxPool, Plan, StrideSite};
use crate::network::{Decision, Family, Fill, Operation, PaddingRule};

/// Infers the channels between the two convolutions in each stage.
pub(in super::super) fn infer(sight: &Sight<'_>, plan: &mut Plan) -> Result<(), Error> {
    let squeeze = |stage| Unit::Squeeze(Place { stage, block: 0 });
    if sight.has(plan, squeeze(0)) {
        let stages = 0..plan.blocks.len();
        let reduced = stages.map(|stage| Ok(sight.conv(plan, squeeze(stage))?[0]));
        plan.squeeze = reduced.collect::<Result<_, Error>>()?;
    }
    if sight.naming.family() == Family::Senet {
        plan.legacy = true;
        plan.max_pool = Some(MaxPool::new(PaddingRule::filled(Fill::Ceil)));
        plan.clamps_last = plan.block == Block::Basic;
        if plan.groups == 1 {
            plan.stride_site = StrideSite::First;
        }
    }
    Ok(())
}

/// Adds it at the end of a main path.
pub(in super::super) fn build(
    bench: &mut Bench<'_>,
    site: &BlockSite,
    x: ValueId,
) -> Result<ValueId, Error> {
    let Some(&reduced) = bench.plan.squeeze.get(site.place.stage) else {
        return Ok(x);
    };
    let [squeeze, excite] = [Unit::Squeeze(site.place), Unit::Excite(site.place)];
    let y = bench.add(squeeze, Part::Pool, Operation::GlobalAvgPool, &[x])?;
    let y = bench.conv(squeeze, y, Conv::new(reduced, 1).biased())?;
    let y = bench.relu(squeeze, y)?;
    let y = bench.conv(excite, y, Conv::new(site.out_c, 1).biased())?;
    bench.add(excite, Part::Gate, Operation::Gate, &[x, y])
}

/// The words of `inspect` for it.
pub(in super::super) fn decision(plan: &Plan) -> Option<Decision> {
    (!plan.squeeze.is_empty()).then(|| {
        let words = format!("squeeze-and-excitation, {} channels", listed(&plan.squeeze));
        Decision::certain("attention", words, "names and shapes of the weights")
    })
}
