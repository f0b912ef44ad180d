//! Selective kernels: two kernels of different dilation replace a 3×3, and for each channel, the
//! image's mean determines how they are mixed (Li et al. 2019, arXiv:1903.06586).
//!
//! The second kernel is dilated by 2. They are mixed by a softmax over two scores, which equals a
//! sigmoid of the scores' difference: a gate. In timm's `skresnet` it shows as `conv2.paths.0`;
//! there, each kernel may read only one half of the channels.

use super::{Bench, Conv, Sight, Site, listed};
use crate::error::Error;
use crate::graph::ValueId;
use crate::network::resnet::naming::{Part, Place, Unit};
use crate::network::resnet::plan::{Plan, Selective};
use crate::network::{Decision, Operation, Parameter};
use crate::tensor::Tensor;

/// The number of kernels.
const PATHS: usize = 2;

/// Reads the channels of its layers and the groups of its kernels; `in_c` is the number of channels
/// that the kernels of the first block read.
pub(super) fn infer(sight: &Sight<'_>, plan: &mut Plan, in_c: usize) -> Result<(), Error> {
    let first = |stage| Place { stage, block: 0 };
    if !sight.has(plan, Unit::Path(first(0), 0)) {
        return Ok(());
    }
    let stages = 0..plan.blocks.len();
    let reduced = stages.map(|stage| Ok(sight.conv(plan, Unit::Reduce(first(stage)))?[0]));
    let reduced = reduced.collect::<Result<_, Error>>()?;
    let [_, group_in] = sight.conv(plan, Unit::Path(first(0), 0))?;
    let splits = group_in * PATHS == in_c;
    plan.groups = if splits { 1 } else { in_c / group_in.max(1) };
    plan.selective = Some(Selective { reduced, splits });
    Ok(())
}

/// Adds it in place of a convolution with its normalisation and ReLU.
pub(super) fn build(
    bench: &mut Bench<'_>,
    Selective { reduced, splits }: &Selective,
    (site, conv): (&Site, Conv),
    x: ValueId,
) -> Result<ValueId, Error> {
    let mut paths = [x; PATHS];
    for (number, y) in paths.iter_mut().enumerate() {
        let unit = Unit::Path(site.place, number);
        let conv = conv.dilation(conv.dilation * (number + 1));
        *y = if *splits {
            let weight = half(bench, unit, number, [conv.out_c, bench.draft.shape(x).c])?;
            bench.convolve(unit, x, conv, weight)?
        } else {
            bench.conv(unit, x, conv)?
        };
        *y = bench.activate(unit, *y)?;
    }
    let reduce = Unit::Reduce(site.place);
    let y = bench.add(reduce, Part::Add, Operation::Add, &paths)?;
    let y = bench.add(reduce, Part::Pool, Operation::GlobalAvgPool, &[y])?;
    let reduced = reduced.get(site.place.stage).copied().unwrap_or_default();
    let y = bench.conv(reduce, y, Conv::new(reduced, 1))?;
    let scores = bench.activate(reduce, y)?;

    let choose = |number| Unit::Choose(site.place, number);
    let dims = [PATHS * conv.out_c, reduced, 1, 1];
    let select = bench.taken(choose(0), Part::Conv, Parameter::Weight, &dims)?;
    let (first, second) = select.data().split_at(conv.out_c * reduced);
    let lead = Tensor::from_fn(&[conv.out_c, reduced, 1, 1], |i| first[i] - second[i]);
    let behind = Tensor::from_fn(lead.dims(), |i| -lead.data()[i]);
    for (number, (weight, y)) in [lead, behind].into_iter().zip(&mut paths).enumerate() {
        let unit = choose(number);
        let weight = bench.constant(unit, Parameter::Weight, weight)?;
        let gate = bench.convolve(unit, scores, Conv::new(conv.out_c, 1), weight)?;
        *y = bench.add(unit, Part::Gate, Operation::Gate, &[*y, gate])?;
    }
    bench.add(choose(0), Part::Add, Operation::Add, &paths)
}

/// Takes a kernel that reads one half of the channels; it is zero for the other half.
fn half(
    bench: &mut Bench<'_>,
    unit: Unit,
    number: usize,
    [out_c, in_c]: [usize; 2],
) -> Result<String, Error> {
    let half = in_c / PATHS;
    let kernel = bench.taken(unit, Part::Conv, Parameter::Weight, &[out_c, half, 3, 3])?;
    let whole = Tensor::from_fn(&[out_c, in_c, 3, 3], |i| {
        let (co, ci, tap) = (i / (in_c * 9), i / 9 % in_c, i % 9);
        let read = ci.checked_sub(number * half).filter(|&ci| ci < half);
        read.map_or(0.0, |ci| kernel.data()[(co * half + ci) * 9 + tap])
    });
    bench.constant(unit, Parameter::Weight, whole)
}

/// What `inspect` says about it.
pub(in super::super) fn decision(plan: &Plan) -> Option<Decision> {
    let Selective { reduced, splits } = plan.selective.as_ref()?;
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
