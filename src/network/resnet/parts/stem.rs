//! The stem: one 7×7 or three 3×3, and the max pool.
//!
//! timm's C, D, S and T have three 3×3 (He et al. 2018, arXiv:1812.01187). In a pre-activated
//! network nothing normalises the last of them, so the max pool gets negative numbers, and the
//! values outside the image matter.

use super::{Bench, Conv, Sight, anti_alias, unexplained};
use crate::error::Error;
use crate::graph::ValueId;
use crate::network::resnet::naming::{Part, Unit};
use crate::network::resnet::plan::{MaxPool, Plan, Style};
use crate::network::{Fill, Operation, PaddingRule, Parameter};

/// Infers the channels of the stem.
pub(in super::super) fn infer(sight: &Sight<'_>, plan: &mut Plan) -> Result<(), Error> {
    plan.stem = vec![0; 3];
    if !sight.has(plan, Unit::Stem(0)) {
        plan.stem = vec![0];
    }
    channels(sight, plan)?;
    let last = Unit::Stem(plan.stem.len() - 1);
    let normalised = sight.dims(plan, last, Part::Norm, Parameter::Gamma);
    if plan.pre_activation && normalised.is_some() {
        return Err(unexplained(
            plan,
            "the stem is normalised: a network of timm that is not pre-activated, which is not \
             supported",
        ));
    }
    Ok(())
}

/// Reads the channels of its convolutions.
pub(in super::super) fn channels(sight: &Sight<'_>, plan: &mut Plan) -> Result<(), Error> {
    let [first_c, image_c] = sight.conv(plan, Unit::Stem(0))?;
    if image_c != 3 {
        return Err(unexplained(
            plan,
            format!(
                "the first convolution takes {image_c} channels, only RGB images are supported"
            ),
        ));
    }
    let mut stem = vec![first_c];
    for number in 1..plan.stem.len() {
        stem.push(sight.conv(plan, Unit::Stem(number))?[0]);
    }
    plan.stem = stem;
    Ok(())
}

/// Lays out the stem.
pub(in super::super) fn build(bench: &mut Bench<'_>, image: ValueId) -> Result<ValueId, Error> {
    let plan = bench.plan;
    let last = plan.stem.len() - 1;
    let kernel = if last == 0 { 7 } else { 3 };
    let mut x = image;
    for (number, &out_c) in plan.stem.iter().enumerate() {
        let unit = Unit::Stem(number);
        let stride = if number == 0 { 2 } else { 1 };
        let normalised = number < last || !plan.pre_activation;
        let conv = Conv::new(out_c, kernel).stride(stride);
        x = bench.conv(unit, x, conv.normalised(normalised))?;
        if normalised {
            x = bench.activate(unit, x)?;
        }
    }
    let MaxPool { padding, zeros } = plan.max_pool;
    let max_pool = |stride| Operation::MaxPool {
        kernel: [3; 2],
        stride: [stride; 2],
        padding,
        zeros,
    };
    anti_alias::build_stem(bench, Unit::Stem(last), max_pool, x)
}

/// The words of `inspect` for the max pool.
pub(in super::super) fn pool_words(plan: &Plan) -> &'static str {
    let MaxPool { padding, zeros } = plan.max_pool;
    if let Some(kind) = plan.anti_alias {
        anti_alias::pool_words(kind)
    } else if padding == PaddingRule::all(0) {
        "3x3/2, no padding"
    } else if padding.fill == Fill::Ceil {
        "3x3/2, no padding, a last partial window"
    } else if zeros {
        "3x3/2, padding 1 with zeros"
    } else {
        "3x3/2, padding 1"
    }
}

impl Style {
    /// The name of the networks in errors.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Torchvision => "resnet",
            Self::Timm => "resnetv2",
            Self::Lesson => "notebook",
            Self::Branches | Self::Blocks | Self::Stacks => "a Keras ResNet",
        }
    }
}
