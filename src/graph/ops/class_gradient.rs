//! Where the gradient of a class starts.

use crate::graph::ParamId;

/// The gradient of one logit of input 0 with respect to what the classifier reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClassGradient {
    /// The classifier's weight, `[class, c, h, w]`.
    pub weight: ParamId,
    /// The class, `[1]`; below 0 for that of the largest logit.
    pub class: ParamId,
}
