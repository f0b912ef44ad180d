//! Softmax.

/// `exp(x) / Σ exp(x)` over the channels of images of one pixel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Softmax;
