//! The stem: one 7×7 or three 3×3, and the max pool.
//!
//! Networks for small images such as CIFAR's have a single 3×3 of stride 1 and no pool (He et al.
//! 2015, section 4.2); only the kernel size shows it. timm's C, D, S and T have three 3×3 (He et
//! al. 2018, arXiv:1812.01187). In a pre-activated network the last convolution is not followed by
//! a normalisation and ReLU, so the max pool reads negative numbers, and its padding matters.

use super::{Bench, Conv, Sight, anti_alias, unexplained};
use crate::error::Error;
use crate::graph::ValueId;
use crate::network::resnet::naming::{Naming, Part, Unit};
use crate::network::resnet::plan::{MaxPool, Plan, Style};
use crate::network::{Decision, Family, Fill, Operation, PaddingRule, Parameter};

/// Infers the channels of the stem.
pub(in super::super) fn infer(sight: &Sight<'_>, plan: &mut Plan) -> Result<(), Error> {
    plan.stem = vec![0; 3];
    if !sight.has(plan, Unit::Stem(0)) {
        plan.stem = vec![0];
    }
    channels(sight, plan)?;
    let single = plan.stem.len() == 1 && !plan.pre_activation;
    if single && sight.kernel(plan, Unit::Stem(0))?[2..] == [3, 3] {
        plan.stem_kernel = 3;
        plan.stem_stride = 1;
        plan.max_pool = None;
    }
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
    if image_c != 3 && sight.naming.family() == Family::Keras {
        let reason = format!(
            "the first convolution takes {image_c} channels, only RGB images are supported"
        );
        return Err(unexplained(plan, reason));
    }
    plan.image_c = image_c;
    let mut stem = vec![first_c];
    for number in 1..plan.stem.len() {
        stem.push(sight.conv(plan, Unit::Stem(number))?[0]);
    }
    plan.stem = stem;
    Ok(())
}

/// Adds the stem.
pub(in super::super) fn build(bench: &mut Bench<'_>, image: ValueId) -> Result<ValueId, Error> {
    let plan = bench.plan;
    let last = plan.stem.len() - 1;
    let kernel = if last == 0 { plan.stem_kernel } else { 3 };
    let mut x = image;
    for (number, &out_c) in plan.stem.iter().enumerate() {
        let unit = Unit::Stem(number);
        let stride = if number == 0 { plan.stem_stride } else { 1 };
        let normalised = number < last || !plan.pre_activation;
        let conv = Conv::new(out_c, kernel).stride(stride);
        x = bench.conv(unit, x, conv.normalised(normalised))?;
        if normalised {
            x = bench.activate(unit, x)?;
        }
    }
    let Some(MaxPool { padding, zeros }) = plan.max_pool else {
        return Ok(x);
    };
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
    let Some(MaxPool { padding, zeros }) = plan.max_pool else {
        return "none";
    };
    if let Some(kind) = plan.anti_alias {
        anti_alias::pool_words(kind)
    } else if padding == PaddingRule::all(0) {
        "3x3/2, no padding"
    } else if padding.fill == Fill::Ceil && padding.sides != PaddingRule::all(0).sides {
        "3x3/2, padding 1, a last partial window"
    } else if padding.fill == Fill::Ceil {
        "3x3/2, no padding, a last partial window"
    } else if zeros {
        "3x3/2, padding 1 with zeros"
    } else {
        "3x3/2, padding 1"
    }
}

/// What `inspect` says about a stem for small images. No file shows its stride and pool.
pub(in super::super) fn decision(plan: &Plan, naming: &Naming) -> Option<Decision> {
    let evidence = "a single 3x3, as in networks for CIFAR";
    plan.is_small().then(|| {
        if naming.has_small_names() || plan.blocks.len() == 3 {
            Decision::inferred("max pool", "none", evidence)
        } else {
            let evidence = format!("{evidence}; state stem_stride and stem_pool if it has others");
            Decision::assumed("max pool", "none", evidence)
        }
    })
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
