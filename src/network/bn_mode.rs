//! The statistics that the batch normalisations of a model use.

use crate::graph::Statistics;
use crate::words::words;

/// The statistics that batch normalisations use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum BnMode {
    /// The running statistics collected in training.
    Running,
    /// The statistics of the batch, as in training: every image affects the results of all others.
    Batch,
}

words!(BnMode { Running = "running", Batch = "batch" });

impl BnMode {
    pub(super) const fn statistics(self) -> Statistics {
        match self {
            Self::Running => Statistics::Running,
            Self::Batch => Statistics::Batch,
        }
    }
}
