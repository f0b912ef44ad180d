//! Scales within a block: the channels between its 1×1 fall into groups, and the 3×3 of each but the last also
//! reads what the one before gives (Gao et al. 2019, arXiv:1904.01169).
//!
//! It shows as `convs` and `bns` in timm's `res2net`. What a first 1×1 gives to a group is one of several
//! convolutions, and so is what the last 1×1 takes from it: nothing has to be split or joined.

use super::rows::Rows;
use super::{Bench, BlockSite, Conv, Sight, block, unexplained};
use crate::error::Error;
use crate::graph::ValueId;
use crate::network::resnet::naming::{Part, Place, Unit};
use crate::network::resnet::plan::{Block, Plan};
use crate::network::{Decision, Operation, PaddingRule, Parameter};
use crate::tensor::Tensor;

/// Reads how many there are, and the groups of their kernels.
pub(super) fn infer(sight: &Sight<'_>, plan: &mut Plan) -> Result<(), Error> {
    let place = Place { stage: 0, block: 0 };
    let convs = (0..).take_while(|&n| sight.has(plan, Unit::Scale(place, n)));
    let scales = convs.count() + 1;
    if scales == 1 {
        return Ok(());
    }
    let [width, group_width] = sight.conv(plan, Unit::Scale(place, 0))?;
    let whole = plan.widths.first().copied().unwrap_or_default();
    if plan.block != Block::Bottleneck || whole != width * scales {
        let reason = format!("{scales} scales of {width} channels are not the {whole} of a block");
        return Err(unexplained(plan, reason));
    }
    plan.groups = width / group_width.max(1);
    plan.scales = Some(scales);
    Ok(())
}

/// Lays out the main path of a block.
pub(super) fn build(
    bench: &mut Bench<'_>,
    scales: usize,
    site: &BlockSite,
    x: ValueId,
) -> Result<ValueId, Error> {
    let in_c = bench.draft.shape(x).c;
    let (first, last) = (Unit::Main(site.place, 0), Unit::Main(site.place, 2));
    let is_first = site.stride != 1 || in_c != site.out_c;
    let width = site.width / scales;
    let rows = Rows::taken(bench, first, [site.width, in_c, 1, 1])?;
    let dims = [site.out_c, site.width, 1, 1];
    let joins = bench.taken(last, Part::Conv, Parameter::Weight, &dims)?;

    let mut before: Option<ValueId> = None;
    let mut joined: Option<ValueId> = None;
    for number in 0..scales {
        let unit = Unit::Split(site.place, number);
        let one = (x, rows.kernel(number, scales)?);
        let mut y = rows.build(bench, (unit, Conv::new(width, 1)), (number, scales), one)?;
        let unit = Unit::Scale(site.place, number);
        if number + 1 < scales {
            if let Some(before) = before.filter(|_| !is_first) {
                y = bench.add(unit, Part::Add, Operation::Add, &[before, y])?;
            }
            let conv = block::strided(bench.plan, site, width, site.stride);
            y = bench.conv(unit, y, conv.groups(bench.plan.groups))?;
            y = bench.activate(unit, y)?;
            before = Some(y);
        } else if is_first {
            y = bench.add(unit, Part::Pool, averaged(site.stride), &[y])?;
        }
        let unit = Unit::Join(site.place, number);
        let kernel = Tensor::from_fn(&[site.out_c, width, 1, 1], |i| {
            joins.data()[i / width * site.width + number * width + i % width]
        });
        let kernel = bench.constant(unit, Parameter::Weight, kernel)?;
        y = bench.convolve(unit, y, Conv::new(site.out_c, 1), kernel)?;
        joined = Some(match joined {
            None => y,
            Some(sum) => bench.add(unit, Part::Add, Operation::Add, &[y, sum])?,
        });
    }
    let joined = joined.ok_or_else(|| unexplained(bench.plan, "a block has no scales"))?;
    bench.norm(last, joined)
}

/// A mean over 3×3 pixels, of which zeros around the image count.
pub(super) const fn averaged(stride: usize) -> Operation {
    Operation::AvgPool {
        kernel: [3; 2],
        stride: [stride; 2],
        padding: PaddingRule::all(1),
        count_padding: true,
    }
}

/// What `inspect` says of it.
pub(in super::super) fn decision(plan: &Plan) -> Option<Decision> {
    plan.scales.map(|scales| {
        let evidence = "names and shapes of the weights";
        Decision::certain("blocks", format!("{scales} scales within each"), evidence)
    })
}
