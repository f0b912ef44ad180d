//! What values are for, whatever they are called.

use std::fmt;

/// What a value is for, whatever the file that a network comes from calls it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Role {
    /// The image that goes in.
    Image,
    /// What a stage of residual blocks gives; the first stage is 1.
    Stage(usize),
    /// The last activation that has rows and columns, for class activation maps.
    FeatureMap,
    /// What the classifier reads, or what leaves the last pool of a network without one.
    Features,
    /// The scores of the classes.
    Logits,
    /// What the softmax or the sigmoid makes of the logits.
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
