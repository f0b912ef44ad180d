//! The purposes of values, regardless of their names.

use std::fmt;

/// The purpose of a value, regardless of its name in the file that the network comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Role {
    /// The input image.
    Image,
    /// The output of a stage of residual blocks; the first stage is 1.
    Stage(usize),
    /// The last activation that has height and width, for class activation maps.
    FeatureMap,
    /// The classifier's input, or the output of the last pool in a network without a classifier.
    Features,
    /// The class scores.
    Logits,
    /// The softmax or the sigmoid of the logits.
    Probabilities,
    /// The class activation map of one class.
    ClassMap,
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Image => "image",
            Self::Stage(stage) => return write!(f, "stage {stage}"),
            Self::FeatureMap => "feature map",
            Self::Features => "features",
            Self::Logits => "logits",
            Self::Probabilities => "probabilities",
            Self::ClassMap => "class activation map",
        })
    }
}
