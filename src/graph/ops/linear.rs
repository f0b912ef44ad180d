//! Linear layer.

use crate::graph::ParamId;

/// `y = W·x + b` on images of one pixel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Linear {
    /// Weight, `[out, in]`.
    pub weight: ParamId,
    /// Bias, `[out]`.
    pub bias: Option<ParamId>,
}
