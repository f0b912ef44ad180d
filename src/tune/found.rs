//! The results of measurements, layer by layer and as a whole.

use crate::plan::{Candidate, ConvShape};

/// A measured layer.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct TunedLayer {
    /// The layer's shape.
    pub shape: ConvShape,
    /// The number of layers with this shape in the network.
    pub count: usize,
    /// The number of candidates measured, including the default.
    pub measured: usize,
    /// The number of candidates whose results were wrong, compared with the default's.
    pub wrong: usize,
    /// The default candidate.
    pub default: Candidate,
    /// The time of the default in milliseconds; with that of the projection, if another candidate computes both at once.
    pub default_ms: f64,
    /// The winner.
    pub choice: Candidate,
    /// The time of the winner in milliseconds, likewise.
    pub choice_ms: f64,
}

/// The network as a whole, with the defaults and with the choices.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct NetworkTimes {
    /// Median time with the defaults, in milliseconds.
    pub default_ms: f64,
    /// Median time with the choices, in milliseconds.
    pub tuned_ms: f64,
    /// Whether the choices made it faster, both by the median and by the best quarter of the runs.
    pub faster: bool,
}
