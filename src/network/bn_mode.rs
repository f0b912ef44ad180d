//! Which statistics the batch normalisations of a model use.

use std::fmt;
use std::str::FromStr;

use crate::graph::Statistics;

/// Which statistics batch normalisations use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum BnMode {
    /// The running ones, which training collected.
    Running,
    /// Those of the batch, as in training: every image of a batch changes the results of all.
    Batch,
}

impl BnMode {
    pub(super) const fn statistics(self) -> Statistics {
        match self {
            Self::Running => Statistics::Running,
            Self::Batch => Statistics::Batch,
        }
    }
}

impl FromStr for BnMode {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "running" => Ok(Self::Running),
            "batch" => Ok(Self::Batch),
            _ => Err(format!("'{text}' is not one of running, batch")),
        }
    }
}

impl fmt::Display for BnMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Running => "running",
            Self::Batch => "batch",
        })
    }
}
