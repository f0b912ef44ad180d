//! Where the weights of a network come from.

use std::fmt;

/// The origin of a network's weights.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Family {
    /// torchvision and timm's plain networks: `layer1.0.conv1.weight`, OIHW.
    Torchvision,
    /// timm's `legacy_seresnet`: `layer1.0.se_module.fc1.weight`, OIHW.
    Senet,
    /// timm's `skresnet`: `layer1.0.conv2.paths.0.conv.weight`, OIHW.
    SelectiveKernels,
    /// CLIP's `ModifiedResNet`: `visual.attnpool.positional_embedding`, OIHW.
    Clip,
    /// Detectron2's backbones: `res2.0.conv1.weight`, OIHW.
    Detectron,
    /// timm's pre-activation networks: `stages.0.blocks.0.conv1.weight`, OIHW.
    PreActivation,
    /// Hugging Face `ResNetForImageClassification`:
    /// `resnet.encoder.stages.0.layers.0.layer.0.convolution.weight`, OIHW.
    HuggingFace,
    /// The classic lesson's notebook: Keras names such as `res2a_branch2a/kernel`, HWIO.
    Notebook,
    /// A file written by `resnet convert`, which lists its layers.
    Described,
    /// An ONNX file, which contains its own graph.
    Onnx,
    /// A Keras file.
    Keras,
    /// Made up by [`Random`](super::Random).
    Random,
}

impl Family {
    /// The name in lower case, as shown in tables and JSON.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Torchvision => "torchvision",
            Self::Senet => "timm-senet",
            Self::Clip => "clip",
            Self::Detectron => "detectron2",
            Self::PreActivation => "timm-resnetv2",
            Self::SelectiveKernels => "timm-skresnet",
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
