//! The blocks: two 3×3 convolutions, or a 3×3 between two 1×1.
//!
//! Residual networks were introduced by He et al. 2015, arXiv:1512.03385. The original strides in
//! the first 1×1 of a bottleneck; v1.5, which torchvision, timm and Hugging Face train, strides in
//! its 3×3. Pre-activated blocks ("v2", He et al. 2016, arXiv:1603.05027) normalise and apply ReLU
//! before every convolution instead of after it, without a ReLU after the sum.

use std::ops::RangeInclusive;

use super::{
    Bench, BlockSite, Conv, Sight, anti_alias, channel_attention, scales, selective, shortcut,
    squeeze_excite, unexplained,
};
use crate::error::Error;
use crate::graph::ValueId;
use crate::network::resnet::naming::{Part, Place, Unit};
use crate::network::resnet::plan::{Block, Plan, Projects, ShortcutOrder, StrideSite, Style};
use crate::network::{Family, Operation};

/// The stages of most networks.
const USUAL_STAGES: usize = 4;
/// More stages than any network has.
const MAX_STAGES: usize = 16;

/// Infers the number of blocks and their channels.
pub(in super::super) fn infer(sight: &Sight<'_>, plan: &mut Plan) -> Result<(), Error> {
    let first = |stage| Place { stage, block: 0 };
    let stages = 0..MAX_STAGES;
    let blocks = stages.map(|stage| {
        // A block with selective kernels may have no plain first convolution.
        let exists = |&block: &usize| {
            let place = Place { stage, block };
            (0..2).any(|number| sight.has(plan, Unit::Main(place, number)))
        };
        (0..).take_while(exists).count()
    });
    let blocks: Vec<usize> = blocks.take_while(|&count| count > 0).collect();
    // Networks for CIFAR have three stages, and those of Hugging Face as many as their configuration says.
    let any = sight.naming.family() == Family::HuggingFace && !blocks.is_empty();
    if !any && blocks.len() < USUAL_STAGES && !(plan.is_small() && blocks.len() == 3) {
        let layer = plan.layer(Unit::Main(first(blocks.len()), 0), Part::Conv);
        let stage = layer.split(".0.conv1").next().unwrap_or_default();
        let reason = format!("the file has no block of {stage}");
        return Err(unexplained(plan, reason));
    }
    plan.strides.resize(blocks.len(), 2);
    plan.blocks = blocks;
    plan.block = if sight.has(plan, Unit::Main(first(0), 2)) {
        Block::Bottleneck
    } else {
        Block::Basic
    };
    if plan.pre_activation {
        plan.shortcut_order = ShortcutOrder::First;
        if plan.block == Block::Bottleneck {
            plan.projects = Projects::All;
        }
    }
    channels(sight, plan)
}

/// Reads the channels and groups of the blocks.
pub(in super::super) fn channels(sight: &Sight<'_>, plan: &mut Plan) -> Result<(), Error> {
    let place = |stage| Place { stage, block: 0 };
    let given = |number| -> Result<Vec<usize>, Error> {
        let stages = 0..plan.blocks.len();
        let given = stages.map(|stage| {
            let unit = match Unit::Main(place(stage), number) {
                unit if sight.has(plan, unit) => unit,
                _ if sight.has(plan, Unit::Path(place(stage), 0)) => Unit::Path(place(stage), 0),
                unit => unit,
            };
            Ok(sight.conv(plan, unit)?[0])
        });
        given.collect()
    };
    let (widths, outputs) = (given(0)?, given(plan.block.convolutions() - 1)?);
    (plan.widths, plan.outputs) = (widths, outputs);
    let bottleneck = plan.block == Block::Bottleneck;
    if bottleneck && sight.has(plan, Unit::Main(place(0), 1)) {
        let [width, group_width] = sight.conv(plan, Unit::Main(place(0), 1))?;
        // No file has a tensor with a dimension of zero.
        plan.groups = width / group_width.max(1);
    }
    let read = if bottleneck {
        plan.widths.first()
    } else {
        plan.stem.last()
    };
    let read = read.copied().unwrap_or_default();
    selective::infer(sight, plan, read)?;
    scales::infer(sight, plan)
}

/// The convolutions of a block.
fn convolutions(plan: &Plan, site: &BlockSite) -> Vec<Conv> {
    let (width, out_c) = (site.width, site.out_c);
    let [_, dilation] = site.dilations;
    let strided = |width, stride| strided(plan, site, width, stride);
    if plan.block == Block::Basic {
        let second = Conv::new(out_c, 3).dilation(dilation);
        return vec![strided(width, site.stride), second];
    }
    let (first, middle) = match plan.stride_site {
        StrideSite::First => (site.stride, 1),
        StrideSite::Middle => (1, site.stride),
    };
    vec![
        Conv::new(width, 1).stride(first),
        strided(width, middle).groups(plan.groups),
        Conv::new(out_c, 1),
    ]
}

/// The 3×3 of a block that may stride.
pub(super) fn strided(plan: &Plan, site: &BlockSite, width: usize, stride: usize) -> Conv {
    let conv = Conv::new(width, 3)
        .stride(anti_alias::stride(plan, stride))
        .dilation(site.dilations[0]);
    if stride > 1 {
        conv.padding(plan.stride_padding)
    } else {
        conv
    }
}

/// All blocks in order.
pub(in super::super) fn sites(plan: &Plan) -> Vec<BlockSite> {
    let mut sites = Vec::new();
    for (stage, &blocks) in plan.blocks.iter().enumerate() {
        let striding = if plan.strides_last { blocks - 1 } else { 0 };
        let projects = match plan.projects {
            Projects::Needed => false,
            Projects::LaterStages => stage > 0,
            Projects::All => true,
        };
        sites.extend((0..blocks).map(|block| BlockSite {
            place: Place { stage, block },
            width: plan.widths[stage],
            out_c: plan.outputs[stage],
            stride: if block == striding {
                plan.strides[stage]
            } else {
                1
            },
            // The first block of a stage still sees the dilation of the stage before.
            dilations: [
                plan.dilation(if block == 0 {
                    stage.saturating_sub(1)
                } else {
                    stage
                }),
                plan.dilation(stage),
            ],
            projects: block == 0 && projects,
        }));
    }
    sites
}

/// Adds a block.
pub(in super::super) fn build(
    bench: &mut Bench<'_>,
    site: &BlockSite,
    x: ValueId,
) -> Result<ValueId, Error> {
    let sum = Unit::Sum(site.place);
    let entry = if bench.plan.pre_activation {
        bench.activate(Unit::Main(site.place, 0), x)?
    } else {
        x
    };
    let last = bench.plan.block.convolutions() - 1;
    let (shortcut, y) = match bench.plan.shortcut_order {
        ShortcutOrder::First => {
            let shortcut = shortcut::build(bench, site, x, entry)?;
            (shortcut, main_path(bench, site, 0..=last, entry)?)
        }
        ShortcutOrder::BeforeLast => {
            let y = main_path(bench, site, 0..=last - 1, entry)?;
            let shortcut = shortcut::build(bench, site, x, entry)?;
            (shortcut, main_path(bench, site, last..=last, y)?)
        }
        ShortcutOrder::Last => {
            let y = main_path(bench, site, 0..=last, entry)?;
            (shortcut::build(bench, site, x, entry)?, y)
        }
    };
    let y = bench.add(sum, Part::Add, Operation::Add, &[y, shortcut])?;
    if bench.plan.pre_activation {
        Ok(y)
    } else {
        bench.relu(sum, y)
    }
}

/// Adds some convolutions of a block, with the layers between them.
fn main_path(
    bench: &mut Bench<'_>,
    site: &BlockSite,
    numbers: RangeInclusive<usize>,
    entry: ValueId,
) -> Result<ValueId, Error> {
    let convolutions = convolutions(bench.plan, site);
    let last = convolutions.len() - 1;
    let kernels = bench.plan.selective.as_ref();
    if let Some(scales) = bench.plan.scales {
        let y = scales::build(bench, scales, site, entry)?;
        let y = squeeze_excite::build(bench, site, y)?;
        return channel_attention::build(bench, site, y);
    }
    let mut y = entry;
    for number in numbers {
        let conv = convolutions[number];
        let unit = Unit::Main(site.place, number);
        if bench.plan.pre_activation {
            if number > 0 {
                y = bench.activate(unit, y)?;
            }
            y = bench.conv(unit, y, conv.normalised(number < last))?;
        } else if let Some(kernels) = kernels.filter(|_| number + 1 == last) {
            y = selective::build(bench, kernels, (site, conv), y)?;
        } else {
            y = bench.conv(unit, y, conv)?;
            y = if number < last || bench.plan.clamps_last {
                bench.activate(unit, y)?
            } else {
                bench.norm(unit, y)?
            };
            // After the convolution that strides: the first of two, or the second of three.
            if number + 1 == last {
                y = anti_alias::build(bench, site, y)?;
            }
        }
        if number == last {
            y = squeeze_excite::build(bench, site, y)?;
            y = channel_attention::build(bench, site, y)?;
        }
    }
    Ok(y)
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
