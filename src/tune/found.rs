//! The results of measurements, layer by layer and as a whole.

use crate::plan::{Candidate, ConvShape};

/// A measured layer.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct TunedLayer {
    /// The layer's shape.
    pub shape: ConvShape,
    /// The number of layers of this shape in the network.
    pub count: usize,
    /// The number of candidates measured, including the default.
    pub measured: usize,
    /// The number of candidates whose results differed from those of the default.
    pub wrong: usize,
    /// The default candidate.
    pub default: Candidate,
    /// Milliseconds of the default.
    pub default_ms: f64,
    /// The winner.
    pub choice: Candidate,
    /// Milliseconds of the winner.
    pub choice_ms: f64,
}

/// The network as a whole, with the defaults and with the choices.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct NetworkTimes {
    /// Median milliseconds with the defaults.
    pub default_ms: f64,
    /// Median milliseconds with the choices.
    pub tuned_ms: f64,
    /// Whether the choices made it faster, both by the median and by the best quarter of the runs.
    pub faster: bool,
}
