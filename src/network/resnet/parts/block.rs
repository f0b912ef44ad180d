//! The blocks: two 3×3, or a 3×3 between two 1×1.
//!
//! Residual networks are due to He et al. 2015, arXiv:1512.03385. The original strides in the first
//! 1×1 of a bottleneck; v1.5, which torchvision, timm and Hugging Face train, strides in its 3×3.
//! Pre-activated blocks ("v2", He et al. 2016, arXiv:1603.05027) normalise and clamp before every
//! convolution instead of after it, and nothing clamps the sum at their end.

use super::{Bench, Conv, Sight, Site, anti_alias, shortcut, squeeze_excite, unexplained};
use crate::error::Error;
use crate::graph::ValueId;
use crate::network::Operation;
use crate::network::resnet::naming::{Part, Place, Unit};
use crate::network::resnet::plan::{Block, Plan, StrideSite, Style};

/// Infers the number of blocks and their channels.
pub(in super::super) fn infer(sight: &Sight<'_>, plan: &mut Plan) -> Result<(), Error> {
    let first = |stage| Place { stage, block: 0 };
    for stage in 0..plan.blocks.len() {
        let exists = |&block: &usize| sight.has(plan, Unit::Main(Place { stage, block }, 0));
        let count = (0..).take_while(exists).count();
        if count == 0 {
            let layer = plan.layer(Unit::Main(first(stage), 0), Part::Conv);
            let stage = layer.split(".0.conv1").next().unwrap_or_default();
            return Err(unexplained(
                plan,
                format!("the file has no block of {stage}"),
            ));
        }
        plan.blocks[stage] = count;
    }
    plan.block = if sight.has(plan, Unit::Main(first(0), 2)) {
        Block::Bottleneck
    } else {
        Block::Basic
    };
    plan.first_projects = plan.pre_activation && plan.block == Block::Bottleneck;
    let last = plan.block.convolutions() - 1;
    for stage in 0..plan.blocks.len() {
        [plan.widths[stage], _] = sight.conv(plan, Unit::Main(first(stage), 0))?;
        [plan.outputs[stage], _] = sight.conv(plan, Unit::Main(first(stage), last))?;
    }
    if plan.block == Block::Bottleneck {
        let [width, group_width] = sight.conv(plan, Unit::Main(first(0), 1))?;
        // No file has a tensor with a dimension of zero.
        plan.groups = width / group_width.max(1);
    }
    Ok(())
}

/// The convolutions of a block.
fn convolutions(plan: &Plan, site: &Site) -> Vec<Conv> {
    let (width, out_c) = (site.width, site.out_c);
    if plan.block == Block::Basic {
        let stride = anti_alias::stride(plan, site.stride);
        return vec![Conv::new(width, 3).stride(stride), Conv::new(out_c, 3)];
    }
    let (first, middle) = match plan.stride_site {
        StrideSite::First => (site.stride, 1),
        StrideSite::Middle => (1, site.stride),
    };
    vec![
        Conv::new(width, 1).stride(first),
        Conv::new(width, 3)
            .stride(anti_alias::stride(plan, middle))
            .groups(plan.groups),
        Conv::new(out_c, 1),
    ]
}

/// All blocks in order.
pub(in super::super) fn sites(plan: &Plan) -> Vec<Site> {
    let mut sites = Vec::new();
    for (stage, &blocks) in plan.blocks.iter().enumerate() {
        sites.extend((0..blocks).map(|block| Site {
            place: Place { stage, block },
            width: plan.widths[stage],
            out_c: plan.outputs[stage],
            stride: if block == 0 { plan.strides[stage] } else { 1 },
            projects: block == 0 && plan.first_projects,
        }));
    }
    sites
}

/// Lays out a block.
pub(in super::super) fn build(
    bench: &mut Bench<'_>,
    site: &Site,
    x: ValueId,
) -> Result<ValueId, Error> {
    let sum = Unit::Sum(site.place);
    if bench.plan.pre_activation {
        let entry = bench.activate(Unit::Main(site.place, 0), x)?;
        let shortcut = shortcut::build(bench, site, x, entry)?;
        let y = main_path(bench, site, entry)?;
        return bench.add(sum, Part::Add, Operation::Add, &[y, shortcut]);
    }
    let y = main_path(bench, site, x)?;
    let shortcut = shortcut::build(bench, site, x, x)?;
    let y = bench.add(sum, Part::Add, Operation::Add, &[y, shortcut])?;
    bench.relu(sum, y)
}

fn main_path(bench: &mut Bench<'_>, site: &Site, entry: ValueId) -> Result<ValueId, Error> {
    let convolutions = convolutions(bench.plan, site);
    let last = convolutions.len() - 1;
    let mut y = entry;
    for (number, conv) in convolutions.into_iter().enumerate() {
        let unit = Unit::Main(site.place, number);
        if bench.plan.pre_activation {
            if number > 0 {
                y = bench.activate(unit, y)?;
            }
            y = bench.conv(unit, y, conv)?;
            continue;
        }
        y = bench.conv(unit, y, conv)?;
        y = if number < last || bench.plan.clamps_last {
            bench.activate(unit, y)?
        } else {
            bench.norm(unit, y)?
        };
        // After the convolution that strides: the first of two, or the second of three.
        if number + 2 == bench.plan.block.convolutions() {
            y = anti_alias::build(bench, site, y)?;
        }
    }
    squeeze_excite::build(bench, site, y)
}

/// The words of `inspect` for the stride.
pub(in super::super) fn stride_words(plan: &Plan) -> &'static str {
    match (plan.block, plan.stride_site, plan.style) {
        (Block::Basic, ..) => "first 3x3 of a block",
        (_, StrideSite::First, Style::Lesson) => "first 1x1 of a block, and its shortcut",
        (_, StrideSite::First, _) => "first 1x1 of a bottleneck (v1)",
        (_, StrideSite::Middle, Style::Timm) => "3x3 of a bottleneck",
        (_, StrideSite::Middle, _) => "3x3 of a bottleneck (v1.5)",
    }
}
