//! The shortcut of a block: its input, projected where the block changes the shape.

use super::{Bench, BlockSite, Conv, Sight};
use crate::error::Error;
use crate::graph::ValueId;
use crate::network::resnet::naming::{Part, Place, Unit};
use crate::network::resnet::plan::{Plan, Shortcut};
use crate::network::{Decision, Family, Fill, Operation, PaddingRule, Parameter};
use crate::tensor::Tensor;

/// Infers the kind of shortcut, and whether the first stage strides.
pub(in super::super) fn infer(sight: &Sight<'_>, plan: &mut Plan) {
    let family = sight.naming.family();
    if matches!(family, Family::Torchvision | Family::SelectiveKernels) {
        // With an average pool, the convolution has the index that the normalisation usually has.
        let mut averaged = plan.clone();
        averaged.shortcut = Shortcut::AveragePool;
        let averages = (0..plan.blocks.len()).any(|stage| {
            let unit = Unit::Shortcut(Place { stage, block: 0 });
            let dims = sight.dims(&averaged, unit, Part::Conv, Parameter::Weight);
            dims.is_some_and(|dims| dims.len() == 4)
        });
        if averages {
            plan.shortcut = Shortcut::AveragePool;
        }
    } else if family == Family::PreActivation && plan.stem.len() > 1 {
        // All of timm's pre-activated networks with a deep stem are of kind D or T.
        plan.shortcut = Shortcut::AveragePool;
    }
    // If stages change the shape without a projection, zero channels are added.
    let unprojected = |stage| !sight.has(plan, Unit::Shortcut(Place { stage, block: 0 }));
    if plan.is_small() && (1..plan.blocks.len()).all(unprojected) {
        plan.shortcut = Shortcut::Zeros;
    }
    // A projection that does not change the number of channels must be there to stride.
    let first = Unit::Shortcut(Place { stage: 0, block: 0 });
    let strides = !plan.pre_activation
        && plan.shortcut == Shortcut::Convolution
        && plan.outputs.first() == Some(&plan.stem_channels())
        && sight.has(plan, first);
    if let (true, Some(stride)) = (strides, plan.strides.first_mut()) {
        *stride = 2;
    }
}

/// Adds the shortcut. `entry` is the input of the block's first convolution.
pub(in super::super) fn build(
    bench: &mut Bench<'_>,
    site: &BlockSite,
    x: ValueId,
    entry: ValueId,
) -> Result<ValueId, Error> {
    let changes = site.stride != 1 || bench.draft.shape(x).c != site.out_c;
    let unit = Unit::Shortcut(site.place);
    let stride = [site.stride; 2];
    if site.place.block > 0 && site.stride != 1 {
        let pool = Operation::MaxPool {
            kernel: [1; 2],
            stride,
            padding: PaddingRule::all(0),
            zeros: false,
        };
        return bench.add(unit, Part::Pool, pool, &[x]);
    }
    if !site.projects && !changes {
        return Ok(x);
    }
    if bench.plan.shortcut == Shortcut::Zeros {
        return zeros(bench, site, x);
    }
    let projection = Conv::new(site.out_c, 1).normalised(!bench.plan.pre_activation);
    let y = match bench.plan.shortcut {
        Shortcut::Convolution | Shortcut::Zeros => {
            bench.conv(unit, entry, projection.stride(site.stride))?
        }
        Shortcut::AveragePool if site.stride == 1 && site.dilations[1] == 1 => {
            bench.conv(unit, entry, projection)?
        }
        Shortcut::AveragePool => {
            // With a stride, an odd last row or column gets its own window; without one, zeros pad
            // it.
            let strides = site.stride > 1;
            let fill = if strides { Fill::Ceil } else { Fill::Same };
            let pool = Operation::AvgPool {
                kernel: [2; 2],
                stride,
                padding: PaddingRule::filled(fill),
                count_padding: !strides,
            };
            let pooled = bench.add(unit, Part::Pool, pool, &[entry])?;
            bench.conv(unit, pooled, projection)?
        }
    };
    if bench.plan.pre_activation {
        return Ok(y);
    }
    bench.norm(unit, y)
}

/// A shortcut without parameters: a convolution that copies channels and adds zero channels.
fn zeros(bench: &mut Bench<'_>, site: &BlockSite, x: ValueId) -> Result<ValueId, Error> {
    let unit = Unit::Shortcut(site.place);
    let (in_c, out_c) = (bench.draft.shape(x).c, site.out_c);
    let before = out_c.saturating_sub(in_c) / 2;
    let kernel = Tensor::from_fn(&[out_c, in_c, 1, 1], |i| {
        let passes = i / in_c == i % in_c + before;
        if passes { 1.0 } else { 0.0 }
    });
    let operation = Operation::Conv2d {
        weight: bench.constant(unit, Parameter::Weight, kernel)?,
        bias: None,
        stride: [site.stride; 2],
        padding: PaddingRule::all(0),
        dilation: [1; 2],
        groups: 1,
    };
    bench.add(unit, Part::Conv, operation, &[x])
}

/// What `inspect` says about such shortcuts. No file shows where the zero channels are.
pub(in super::super) fn decision(plan: &Plan) -> Option<Decision> {
    (plan.shortcut == Shortcut::Zeros).then(|| {
        let words = "every second pixel, half of the zeros before its channels";
        Decision::assumed(
            "shortcut",
            words,
            "nothing projects it, as in option A of networks for CIFAR",
        )
    })
}
