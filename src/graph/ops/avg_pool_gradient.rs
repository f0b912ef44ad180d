//! Gradient of an average pool.

use crate::graph::Window;

/// The gradient of a mean over a window without padding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AvgPoolGradient {
    /// The window.
    pub window: Window,
    /// Rows and columns of what the mean was of.
    pub size: [usize; 2],
}
