//! The head: pooling and classifier.

use super::{Bench, Sight, unexplained};
use crate::error::Error;
use crate::graph::ValueId;
use crate::network::resnet::naming::{Part, Unit};
use crate::network::resnet::plan::{HeadPooling, Plan};
use crate::network::{Ends, Operation, PaddingRule, Parameter};

/// Reads the number of classes.
pub(in super::super) fn infer(sight: &Sight<'_>, plan: &mut Plan) -> Result<(), Error> {
    let dims = sight.dims(plan, Unit::Head, Part::Linear, Parameter::Weight);
    let classes = match dims.as_deref() {
        Some(&[classes, _]) => classes,
        // timm stores the classifier of its pre-activated networks as a 1×1 convolution.
        Some(&[classes, _, 1, 1]) if plan.pre_activation => classes,
        other => {
            return Err(unexplained(
                plan,
                format!(
                    "the file must have a classifier of two sizes, its weight has {other:?}; a \
                     network without one is not supported yet"
                ),
            ));
        }
    };
    plan.classes = classes;
    Ok(())
}

/// Lays it out.
pub(in super::super) fn build(bench: &mut Bench<'_>, feature_map: ValueId) -> Result<Ends, Error> {
    let plan = bench.plan;
    let features = match plan.head.pooling {
        HeadPooling::Global => bench.add(
            Unit::Head,
            Part::Pool,
            Operation::GlobalAvgPool,
            &[feature_map],
        )?,
        HeadPooling::Lesson => {
            let pool = Operation::AvgPool {
                kernel: [2; 2],
                stride: [2; 2],
                padding: PaddingRule::all(0),
                count_padding: false,
            };
            let pooled = bench.add(Unit::Head, Part::Pool, pool, &[feature_map])?;
            let flatten = Operation::Flatten {
                channels_last: true,
            };
            bench.add(Unit::Head, Part::Flatten, flatten, &[pooled])?
        }
    };
    let dims = [plan.classes, bench.draft.shape(features).c];
    let operation = Operation::Linear {
        weight: bench.parameter(Unit::Head, Part::Linear, Parameter::Weight, &dims)?,
        bias: Some(bench.parameter(Unit::Head, Part::Linear, Parameter::Bias, &[plan.classes])?),
    };
    let logits = bench.add(Unit::Head, Part::Linear, operation, &[features])?;
    Ok(Ends {
        feature_map,
        features,
        logits,
    })
}

/// What `inspect` says of it.
pub(in super::super) fn words(plan: &Plan) -> &'static str {
    match plan.head.pooling {
        HeadPooling::Global if plan.pre_activation => "normalised, global average, linear",
        HeadPooling::Global => "global average, linear",
        HeadPooling::Lesson => "2x2 average, flatten (HWC), linear",
    }
}
