//! Networks by name.

use std::fmt;
use std::str::FromStr;

use super::plan::{Block, LESSON_CLASSES, Plan, STEM};
use crate::error::Error;

/// A network by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Arch {
    /// [2, 2, 2, 2] blocks of two convolutions.
    ResNet18,
    /// [3, 4, 6, 3] blocks of two convolutions.
    ResNet34,
    /// [3, 4, 6, 3] bottlenecks.
    ResNet50,
    /// [3, 4, 23, 3] bottlenecks.
    ResNet101,
    /// [3, 8, 36, 3] bottlenecks.
    ResNet152,
    /// The ResNet-50 of the classic lesson.
    Notebook,
}

#[doc(hidden)]
impl Arch {
    /// All architectures.
    pub const ALL: [Self; 6] = [
        Self::ResNet18,
        Self::ResNet34,
        Self::ResNet50,
        Self::ResNet101,
        Self::ResNet152,
        Self::Notebook,
    ];

    /// The name that [`FromStr`] reads.
    pub const fn name(self) -> &'static str {
        match self {
            Self::ResNet18 => "resnet18",
            Self::ResNet34 => "resnet34",
            Self::ResNet50 => "resnet50",
            Self::ResNet101 => "resnet101",
            Self::ResNet152 => "resnet152",
            Self::Notebook => "notebook",
        }
    }

    /// The plan for a number of classes: by default 1000, or 6 for the lesson.
    pub fn plan(self, classes: Option<usize>) -> Plan {
        let (block, blocks) = match self {
            Self::ResNet18 => (Block::Basic, [2, 2, 2, 2]),
            Self::ResNet34 => (Block::Basic, [3, 4, 6, 3]),
            Self::ResNet50 => (Block::Bottleneck, [3, 4, 6, 3]),
            Self::ResNet101 => (Block::Bottleneck, [3, 4, 23, 3]),
            Self::ResNet152 => (Block::Bottleneck, [3, 8, 36, 3]),
            Self::Notebook => return Plan::lesson(STEM, classes.unwrap_or(LESSON_CLASSES)),
        };
        Plan::new(block, blocks, classes.unwrap_or(1000))
    }
}

impl fmt::Display for Arch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Arch {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self, Error> {
        let found = Self::ALL.into_iter().find(|arch| arch.name() == name);
        found.ok_or_else(|| Error::Model {
            model: name.to_owned(),
            reason: format!(
                "unknown; there are {}",
                Self::ALL.map(Self::name).join(", ")
            ),
        })
    }
}
