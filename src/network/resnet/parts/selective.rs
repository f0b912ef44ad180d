//! Selective kernels: two kernels of different dilation replace a 3×3, and for each channel, the
//! image's mean determines how they are mixed (Li et al. 2019, arXiv:1903.06586).
//!
//! The second has its taps two pixels apart. What chooses is a softmax over the two, and so a sigmoid of the
//! difference of their scores: a gate. It shows as `conv2.paths.0` in timm's `skresnet`; there each kernel
//! may read a half of the channels alone. `ResNeSt` (Zhang et al. 2020, arXiv:2004.08955) has two such kernels of
//! the same reach, stacked as `conv2.conv`, biases in what chooses, and strides by a mean behind it.

use super::rows::Rows;
use super::{Bench, BlockSite, Conv, Sight, listed, scales, unexplained};
use crate::error::Error;
use crate::graph::ValueId;
use crate::network::resnet::naming::{Part, Place, Unit};
use crate::network::resnet::plan::{Plan, Selective};
use crate::network::{Decision, Family, Operation, PaddingRule, Parameter};
use crate::tensor::Tensor;

/// The number of kernels.
const PATHS: usize = 2;

/// Reads the channels of its layers and the groups of its kernels; `in_c` is the number of channels
/// that the kernels of the first block read.
pub(super) fn infer(sight: &Sight<'_>, plan: &mut Plan, in_c: usize) -> Result<(), Error> {
    let first = |stage| Place { stage, block: 0 };
    let mut stacked = plan.clone();
    stacked.selective = Some(Selective {
        reduced: Vec::new(),
        splits: true,
        stacked: true,
    });
    let plain = sight.naming.family() == Family::Torchvision;
    if plain && sight.has(&stacked, Unit::Path(first(0), 0)) {
        return infer_stacked(sight, plan, stacked, in_c);
    }
    if !sight.has(plan, Unit::Path(first(0), 0)) {
        return Ok(());
    }
    let stages = 0..plan.blocks.len();
    let reduced = stages.map(|stage| Ok(sight.conv(plan, Unit::Reduce(first(stage)))?[0]));
    let reduced = reduced.collect::<Result<_, Error>>()?;
    let [_, group_in] = sight.conv(plan, Unit::Path(first(0), 0))?;
    let splits = group_in * PATHS == in_c;
    plan.groups = if splits { 1 } else { in_c / group_in.max(1) };
    plan.selective = Some(Selective {
        reduced,
        splits,
        stacked: false,
    });
    Ok(())
}

/// Does what [`infer`] does where the kernels are stacked.
fn infer_stacked(
    sight: &Sight<'_>,
    plan: &mut Plan,
    stacked: Plan,
    in_c: usize,
) -> Result<(), Error> {
    let first = |stage| Place { stage, block: 0 };
    let [out_c, group_in] = sight.conv(&stacked, Unit::Path(first(0), 0))?;
    if [out_c, group_in * PATHS] != [PATHS * in_c, in_c] {
        let reason = format!(
            "its {out_c} stacked kernels of {group_in} channels are not two groups of {in_c}: a ResNeSt of \
             another radix or with groups, which is not supported"
        );
        return Err(unexplained(plan, reason));
    }
    let stages = 0..plan.blocks.len();
    let reduced = stages.map(|stage| Ok(sight.conv(&stacked, Unit::Reduce(first(stage)))?[0]));
    let reduced = reduced.collect::<Result<_, Error>>()?;
    *plan = stacked;
    plan.selective = Some(Selective {
        reduced,
        splits: true,
        stacked: true,
    });
    Ok(())
}

/// Adds it in place of a convolution with its normalisation and ReLU.
pub(super) fn build(
    bench: &mut Bench<'_>,
    selective: &Selective,
    (site, conv): (&BlockSite, Conv),
    x: ValueId,
) -> Result<ValueId, Error> {
    let Selective {
        reduced, stacked, ..
    } = selective;
    // The mean behind it strides.
    let average = *stacked && site.stride > 1;
    let conv = if average { conv.stride(1) } else { conv };
    let mut paths = paths(bench, selective, (site, conv), x)?;
    let reduce = Unit::Reduce(site.place);
    let y = bench.add(reduce, Part::Add, Operation::Add, &paths)?;
    let y = bench.add(reduce, Part::Pool, Operation::GlobalAvgPool, &[y])?;
    let reduced = reduced.get(site.place.stage).copied().unwrap_or_default();
    let mut small = Conv::new(reduced, 1);
    if *stacked {
        small = small.biased();
    }
    let y = bench.conv(reduce, y, small)?;
    let scores = bench.activate(reduce, y)?;

    let choose = |number| Unit::Choose(site.place, number);
    let dims = [PATHS * conv.out_c, reduced, 1, 1];
    let select = bench.taken(choose(0), Part::Conv, Parameter::Weight, &dims)?;
    let leads = leads(&select, &[conv.out_c, reduced, 1, 1]);
    let mut biases = None;
    if *stacked {
        let bias = bench.taken(choose(0), Part::Conv, Parameter::Bias, &dims[..1])?;
        biases = Some(self::leads(&bias, &[conv.out_c]));
    }
    for (number, (weight, y)) in leads.into_iter().zip(&mut paths).enumerate() {
        let unit = choose(number);
        let bias = biases.as_ref().map(|biases| biases[number].clone());
        let operation = Operation::Conv2d {
            weight: bench.constant(unit, Parameter::Weight, weight)?,
            bias: bias
                .map(|bias| bench.constant(unit, Parameter::Bias, bias))
                .transpose()?,
            stride: [1; 2],
            padding: PaddingRule::all(0),
            dilation: [1; 2],
            groups: 1,
        };
        let gate = bench.add(unit, Part::Conv, operation, &[scores])?;
        *y = bench.add(unit, Part::Gate, Operation::Gate, &[*y, gate])?;
    }
    let y = bench.add(choose(0), Part::Add, Operation::Add, &paths)?;
    if average {
        let pool = scales::averaged(site.stride);
        return bench.add(Unit::Blur(site.place), Part::Pool, pool, &[y]);
    }
    Ok(y)
}

/// The two kernels, each with its normalisation and ReLU.
fn paths(
    bench: &mut Bench<'_>,
    Selective {
        splits, stacked, ..
    }: &Selective,
    (site, conv): (&BlockSite, Conv),
    x: ValueId,
) -> Result<[ValueId; PATHS], Error> {
    let mut paths = [x; PATHS];
    let in_c = bench.draft.shape(x).c;
    let path = |number| Unit::Path(site.place, number);
    if *stacked {
        let rows = Rows::taken(bench, path(0), [PATHS * conv.out_c, in_c / PATHS, 3, 3])?;
        for (number, y) in paths.iter_mut().enumerate() {
            let kernel = half(&rows.kernel(number, PATHS)?, number);
            let one = (x, kernel);
            *y = rows.build(bench, (path(number), conv), (number, PATHS), one)?;
        }
        return Ok(paths);
    }
    for (number, y) in paths.iter_mut().enumerate() {
        let unit = path(number);
        let conv = conv.dilation(conv.dilation * (number + 1));
        *y = if *splits {
            let dims = [conv.out_c, in_c / PATHS, 3, 3];
            let kernel = bench.taken(unit, Part::Conv, Parameter::Weight, &dims)?;
            let weight = bench.constant(unit, Parameter::Weight, half(&kernel, number))?;
            bench.convolve(unit, x, conv, weight)?
        } else {
            bench.conv(unit, x, conv)?
        };
        *y = bench.activate(unit, *y)?;
    }
    Ok(paths)
}

/// By how much each of two exceeds the other, of numbers that are stacked.
fn leads(stacked: &Tensor, dims: &[usize]) -> [Tensor; PATHS] {
    let (first, second) = stacked.data().split_at(stacked.len() / PATHS);
    let lead = Tensor::from_fn(dims, |i| first[i] - second[i]);
    let behind = Tensor::from_fn(dims, |i| -lead.data()[i]);
    [lead, behind]
}

/// A kernel that reads one half of the channels, with zeros for the other.
fn half(kernel: &Tensor, number: usize) -> Tensor {
    let [out_c, half] = [0, 1].map(|axis| kernel.dims().get(axis).copied().unwrap_or(1));
    let in_c = PATHS * half;
    Tensor::from_fn(&[out_c, in_c, 3, 3], |i| {
        let (co, ci, tap) = (i / (in_c * 9), i / 9 % in_c, i % 9);
        let read = ci.checked_sub(number * half).filter(|&ci| ci < half);
        read.map_or(0.0, |ci| kernel.data()[(co * half + ci) * 9 + tap])
    })
}

/// What `inspect` says about it.
pub(in super::super) fn decision(plan: &Plan) -> Option<Decision> {
    let Selective {
        reduced, splits, ..
    } = plan.selective.as_ref()?;
    let reads = if *splits {
        ", each of a half of the channels"
    } else {
        ""
    };
    let words = format!("two selective kernels{reads}, {} channels", listed(reduced));
    Some(Decision::certain(
        "attention",
        words,
        "names and shapes of the weights",
    ))
}
