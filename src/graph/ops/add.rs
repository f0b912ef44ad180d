//! Sum of two activations.

/// Sum of two activations of the same shape.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Add {
    /// Clamp the sum at zero.
    pub relu: bool,
}
