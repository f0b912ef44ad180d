//! Max pool.

use crate::graph::Window;

/// Maximum over a window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MaxPool {
    /// The window.
    pub window: Window,
    /// What lies outside the image.
    pub pad_value: PadValue,
}

/// What a max pool sees outside the image.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PadValue {
    /// Minus infinity: padding never wins (PyTorch, Keras `same`).
    NegInfinity,
    /// Zero, as if the image had been zero-padded before.
    Zero,
}
