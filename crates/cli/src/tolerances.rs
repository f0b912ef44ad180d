//! How far results may deviate.

use resnet_wgpu::internals::kernels::Precision;

use crate::args::CompareArgs;

/// The largest differences that count as agreement.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Tolerances {
    /// Of a logit, absolute.
    pub(crate) logit: f32,
    /// Of a layer or of the logits, relative to the largest magnitude.
    pub(crate) relative: f32,
}

impl Tolerances {
    /// The defaults for a storage precision. Half precision has eleven bits, some of which are lost
    /// over fifty layers.
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
