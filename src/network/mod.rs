//! Networks: from a description and tensors to a graph of any batch and size.
//!
//! Readers of files and the families of `resnet` lay a network out on a `Draft`. What comes out
//! is a [`Network`]: a `Blueprint` of its layers, its tensors, how images are prepared, and a record
//! of everything that had to be decided. [`Network::model`] makes a [`Model`] of it, the graph for one
//! batch and size, as often as it is asked for and without any file.

mod activation;
pub(crate) mod blueprint;
mod bn_mode;
pub(crate) mod build;
mod decision;
pub(crate) mod draft;
pub(crate) mod padding;
pub(crate) mod parameter;
pub(crate) mod resnet;
pub(crate) mod source;
pub(crate) mod variant;

pub use activation::Activation;
pub(crate) use blueprint::{Blueprint, Operation, Tensors};
pub use bn_mode::BnMode;
pub(crate) use build::Facts;
pub use build::{Model, ModelOptions, Network};
pub use decision::{Confidence, Decision, Decisions};
pub(crate) use draft::{Draft, Ends};
pub(crate) use padding::{Fill, PaddingRule};
pub(crate) use parameter::Parameter;
pub use resnet::Arch;
pub(crate) use source::{Random, TensorSource};
pub use variant::Variant;
pub(crate) use variant::{Choice, choose};

use std::fmt;

/// Where the weights of a network are from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Family {
    /// torchvision and the plain networks of timm: `layer1.0.conv1.weight`, OIHW.
    Torchvision,
    /// timm's `legacy_seresnet`: `layer1.0.se_module.fc1.weight`, OIHW.
    Senet,
    /// timm's pre-activation networks: `stages.0.blocks.0.conv1.weight`, OIHW.
    PreActivation,
    /// Hugging Face `ResNetForImageClassification`:
    /// `resnet.encoder.stages.0.layers.0.layer.0.convolution.weight`, OIHW.
    HuggingFace,
    /// The classic lesson's notebook: Keras names such as `res2a_branch2a/kernel`, HWIO.
    Notebook,
    /// A file of `resnet convert`, which lists its layers.
    Described,
    /// An ONNX file, which brings its own graph.
    Onnx,
    /// A file of Keras.
    Keras,
    /// Made up by [`Random`].
    Random,
}

impl Family {
    /// The name in lower case, as tables and JSON show it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Torchvision => "torchvision",
            Self::Senet => "timm-senet",
            Self::PreActivation => "timm-resnetv2",
            Self::HuggingFace => "huggingface",
            Self::Notebook => "notebook",
            Self::Described => "described",
            Self::Onnx => "onnx",
            Self::Keras => "keras",
            Self::Random => "random",
        }
    }
}

impl fmt::Display for Family {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
