//! Gradient of a ReLU.

/// Input 0 where input 1, an activation of the same shape, is positive, else 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReluGradient;
