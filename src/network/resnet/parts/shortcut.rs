//! The shortcut of a block: its input, projected where the block changes its shape.

use super::{Bench, Conv, Sight, Site};
use crate::error::Error;
use crate::graph::ValueId;
use crate::network::resnet::naming::{Part, Place, Unit};
use crate::network::resnet::plan::{Plan, Shortcut};
use crate::network::{Family, Fill, Operation, PaddingRule, Parameter};

/// Infers how shortcuts stride, and whether those of the first stage do.
pub(in super::super) fn infer(sight: &Sight<'_>, plan: &mut Plan) {
    let family = sight.naming.family();
    if family == Family::Torchvision {
        // If it averages, its convolution has the number that its normalisation would have.
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
        // All of timm's networks with a deep stem are of kind D or T.
        plan.shortcut = Shortcut::AveragePool;
    }
    // A projection that does not change the number of channels is there to stride.
    let first = Unit::Shortcut(Place { stage: 0, block: 0 });
    let strides = !plan.pre_activation
        && plan.shortcut == Shortcut::Convolution
        && plan.outputs.first() == Some(&plan.stem_channels())
        && sight.has(plan, first);
    if let (true, Some(stride)) = (strides, plan.strides.first_mut()) {
        *stride = 2;
    }
}

/// Lays out the shortcut. `entry` is the input of the block's first convolution.
pub(in super::super) fn build(
    bench: &mut Bench<'_>,
    site: &Site,
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
    let projection = Conv::new(site.out_c, 1).normalised(!bench.plan.pre_activation);
    let y = match bench.plan.shortcut {
        Shortcut::Convolution => bench.conv(unit, entry, projection.stride(site.stride))?,
        Shortcut::AveragePool if site.stride == 1 => bench.conv(unit, entry, projection)?,
        Shortcut::AveragePool => {
            // An odd last row or column gets its own window.
            let pool = Operation::AvgPool {
                kernel: [2; 2],
                stride,
                padding: PaddingRule::filled(Fill::Ceil),
                count_padding: false,
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
