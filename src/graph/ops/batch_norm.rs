//! Batch normalisation, of running statistics or of those of the batch.

use crate::graph::ParamId;

/// Batch normalisation (Ioffe & Szegedy 2015, arXiv:1502.03167):
/// `y = gamma · (x − mean) / √(variance + epsilon) + beta`, per channel.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct BatchNorm {
    /// Scale, `[channels]`.
    pub gamma: ParamId,
    /// Shift, `[channels]`.
    pub beta: ParamId,
    /// Running mean, `[channels]`.
    pub mean: ParamId,
    /// Running variance, `[channels]`.
    pub variance: ParamId,
    /// Added to the variance.
    pub epsilon: f32,
    /// Which mean and variance are used.
    pub statistics: Statistics,
    /// Clamp the result at zero.
    pub relu: bool,
}

/// Which mean and variance a batch normalisation uses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Statistics {
    /// Those that training collected, which are parameters.
    #[default]
    Running,
    /// Those of the batch at hand, over all its images and pixels, as in training: the mean of the
    /// squared distance from the mean, not corrected for the number. The parameters are not read.
    Batch,
}
