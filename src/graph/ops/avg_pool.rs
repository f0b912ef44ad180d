//! Average pool.

use crate::graph::Window;

/// Mean over a window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AvgPool {
    /// The window.
    pub window: Window,
    /// Whether padding counts as zeros in the mean.
    pub count_padding: bool,
}
