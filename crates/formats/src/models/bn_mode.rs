//! Which statistics the batch normalisations of a model use.

use std::fmt;
use std::str::FromStr;

use super::{Decision, Model};
use resnet_wgpu::graph::Statistics;

/// Which statistics batch normalisations use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum BnMode {
    /// The running ones, which training collected.
    Running,
    /// Those of the batch, as in training: every image of a batch changes the results of all.
    Batch,
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

impl Model {
    /// Makes all batch normalisations use the statistics that are asked for. Those that an exporter
    /// folded into convolutions are gone and stay as they are.
    pub(crate) fn ask_bn_mode(&mut self, asked: Option<BnMode>) {
        let Some(mode) = asked else {
            return;
        };
        let count = self.graph.set_statistics(match mode {
            BnMode::Running => Statistics::Running,
            BnMode::Batch => Statistics::Batch,
        });
        let value = format!("{mode} statistics in {count} layers");
        self.decisions
            .record(Decision::certain("batch norm", value, "asked for"));
    }
}
