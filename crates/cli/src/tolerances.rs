//! How far results may be off.

use resnet_wgpu::internals::kernels::Precision;

use crate::args::CompareArgs;

/// Largest differences that count as agreement.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Tolerances {
    /// Of a logit, as such.
    pub(crate) logit: f32,
    /// Of a layer or of the logits, as a part of the largest magnitude.
    pub(crate) relative: f32,
}

impl Tolerances {
    /// Those of what is stored. Halves have eleven bits, and a network of fifty layers loses some.
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

    /// Those that the flags ask for, else those of what is stored.
    pub(crate) fn new(args: &CompareArgs, precision: Precision) -> Self {
        let default = Self::of(precision);
        Self {
            logit: args.tolerance.unwrap_or(default.logit),
            relative: args.layer_tolerance.unwrap_or(default.relative),
        }
    }
}
