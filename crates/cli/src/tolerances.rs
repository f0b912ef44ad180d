//! How much results may deviate from expected values.

use resnet_wgpu::internals::kernels::Precision;

use crate::args::CompareArgs;

/// The largest differences that still count as agreement.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Tolerances {
    /// For logits, absolute.
    pub(crate) logit: f32,
    /// For layers and logits, relative to the largest magnitude.
    pub(crate) relative: f32,
}

impl Tolerances {
    /// The defaults for a storage precision. Half precision has 11 significant bits, some of which
    /// are lost over fifty layers.
    pub(crate) const fn of(precision: Precision) -> Self {
        if matches!(precision, Precision::F32) {
            return Self {
                logit: 1e-3,
                relative: 1e-4,
            };
        }
        Self {
            logit: f32::INFINITY,
            relative: 2e-2,
        }
    }

    /// The tolerances given by the flags, otherwise the defaults for the precision.
    pub(crate) fn new(args: &CompareArgs, precision: Precision) -> Self {
        let default = Self::of(precision);
        Self {
            logit: args.tolerance.unwrap_or(default.logit),
            relative: args.layer_tolerance.unwrap_or(default.relative),
        }
    }
}
