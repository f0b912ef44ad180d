//! Which statistics the batch normalisations of a model use.

use crate::graph::Statistics;
use crate::words::words;

/// Which statistics batch normalisations use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum BnMode {
    /// The running ones, which training collected.
    Running,
    /// Those of the batch, as in training: every image of a batch changes the results of all.
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
