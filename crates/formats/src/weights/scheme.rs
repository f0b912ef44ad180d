//! How each family of weight files names and lays out the parameters of a network.
//!
//! Builders ask for a layer by its canonical name, which is the node's name in the graph
//! (torchvision's path, or the lesson's Keras name), and for the [`Role`] of a parameter in it. A
//! [`Scheme`] turns both into the key of the file.

use std::collections::BTreeSet;
use std::fmt;

use resnet_wgpu::error::{Error, Hint};

/// What a parameter does in its layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Role {
    /// Kernel of a convolution (OIHW) or matrix of a linear layer (`[out, in]`).
    Weight,
    /// Bias of a convolution or linear layer.
    Bias,
    /// Scale of a batch normalisation.
    Gamma,
    /// Shift of a batch normalisation.
    Beta,
    /// Running mean of a batch normalisation.
    Mean,
    /// Running variance of a batch normalisation.
    Variance,
}

impl Role {
    /// The name in PyTorch files, which parameters of graphs have too.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Weight | Self::Gamma => "weight",
            Self::Bias | Self::Beta => "bias",
            Self::Mean => "running_mean",
            Self::Variance => "running_var",
        }
    }

    /// The name in files of Keras.
    pub(crate) const fn keras_name(self) -> &'static str {
        match self {
            Self::Weight => "kernel",
            Self::Bias => "bias",
            Self::Gamma => "gamma",
            Self::Beta => "beta",
            Self::Mean => "moving_mean",
            Self::Variance => "moving_variance",
        }
    }
}

/// The family of weight files that a set of parameters is from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Family {
    /// torchvision and the plain networks of timm: `layer1.0.conv1.weight`, OIHW.
    Torchvision,
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
    /// Made up by [`Weights::random`](super::Weights::random).
    Random,
}

impl Family {
    /// The name in lower case, as tables and JSON show it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Torchvision => "torchvision",
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

/// The naming of one file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Scheme {
    /// With what stands before every key, such as `module.` of a data-parallel training.
    Torchvision { prefix: String },
    /// The same for timm's pre-activation networks, whose layers have other names.
    PreActivation { prefix: String },
    /// With what stands before the keys of the backbone: `resnet.`, or nothing.
    HuggingFace { prefix: String },
    /// With what stands after every key: `:0` in files of Keras 2, or nothing.
    Notebook { suffix: &'static str },
    /// Names are those of the file.
    Described,
}

/// A key that occurs in every network of a family, once.
const TORCHVISION_MARK: &str = "layer1.0.conv1.weight";
const PRE_ACTIVATION_MARK: &str = "stages.0.blocks.0.conv1.weight";
const HUGGING_FACE_MARK: &str = "embedder.embedder.convolution.weight";
const NOTEBOOK_MARK: &str = "res2a_branch2a/kernel";

/// Families that are known, have no builder, and would be misread under another name: the text that
/// shows them, and what they are.
const UNSUPPORTED: &[(&str, &str)] = &[
    (
        ".se.",
        "a ResNet with channel attention (squeeze-and-excitation, ECA)",
    ),
    (".attn.", "a ResNet with attention blocks"),
    (
        ".aa.",
        "an anti-aliased ResNet (blur pools before its strides)",
    ),
    (
        "maxpool.0.",
        "a ResNet whose stem has a convolution instead of the max pool (timm's `replace_stem_pool`)",
    ),
    (".conv2.0.", "a ResNet with several layers for one 3x3"),
    (".conv2.radix", "a ResNeSt"),
    (".skn.", "a ResNet with selective kernels"),
];

/// Names of networks that are read from other files: tensors with the lesson's names are enough to
/// know it by, these are not. The text that shows them, what they are, and the file that is read.
const ELSEWHERE: &[(&str, &str, &str)] = &[
    (
        "conv2_block1_1_conv",
        "a ResNet of keras.applications",
        KERAS_FILE,
    ),
    ("stack0_block0_1_conv", "a ResNet of KerasHub", KERAS_FILE),
    (
        "layers/conv2d/",
        "a Keras network with numbered layers",
        KERAS_FILE,
    ),
    (
        "conv2d_1/kernel",
        "a Keras network with numbered layers",
        KERAS_FILE,
    ),
    ("resnetv17_", "a ResNet of MXNet Gluon", ONNX_FILE),
    ("res2_0_branch2a", "a ResNet of Caffe2", ONNX_FILE),
];
const KERAS_FILE: &str = "Keras' own files (.keras, .weights.h5, .h5)";
const ONNX_FILE: &str = "ONNX exports";

impl Scheme {
    /// The scheme whose marks are among the keys. A file that is `described` lists its layers.
    pub(super) fn recognise(keys: &BTreeSet<String>, described: bool) -> Result<Self, Error> {
        if described {
            return Ok(Self::Described);
        }
        let refuse = |reason, hint| Err(Error::WeightsUnrecognised { reason, hint });
        let unrecognised = |reason: String| refuse(reason, None);
        let known = UNSUPPORTED
            .iter()
            .find(|(mark, _)| keys.iter().any(|key| key.contains(mark)));
        if let Some((mark, kind)) = known {
            return unrecognised(format!(
                "names such as '{mark}' belong to {kind}, which is not supported"
            ));
        }
        let elsewhere = ELSEWHERE
            .iter()
            .find(|(mark, ..)| keys.iter().any(|key| key.contains(mark)));
        if let Some((mark, kind, files)) = elsewhere {
            let reason =
                format!("names such as '{mark}' belong to {kind}, which is read from {files} only");
            return refuse(reason, Some(Hint::Convert));
        }
        let mut found = Vec::new();
        for key in keys {
            if let Some(prefix) = key.strip_suffix(TORCHVISION_MARK) {
                found.push(Self::Torchvision {
                    prefix: prefix.to_owned(),
                });
            } else if let Some(prefix) = key.strip_suffix(HUGGING_FACE_MARK) {
                found.push(Self::HuggingFace {
                    prefix: prefix.to_owned(),
                });
            } else if let Some(prefix) = key.strip_suffix(PRE_ACTIVATION_MARK) {
                found.push(Self::PreActivation {
                    prefix: prefix.to_owned(),
                });
            } else if let Some(suffix) = key.strip_prefix(NOTEBOOK_MARK) {
                let suffix = if suffix == ":0" { ":0" } else { "" };
                found.push(Self::Notebook { suffix });
            }
        }
        match found.len() {
            1 => {
                let scheme = found.remove(0);
                scheme.refuse_other_norms(keys)?;
                Ok(scheme)
            }
            0 => unrecognised(format!(
                "no key ends with '{TORCHVISION_MARK}' (torchvision, timm) or \
                 '{HUGGING_FACE_MARK}' (Hugging Face), none is '{NOTEBOOK_MARK}' (the notebook); \
                 the first of {} keys is {}",
                keys.len(),
                keys.first()
                    .map_or_else(|| "missing".to_owned(), |key| format!("'{key}'")),
            )),
            count => unrecognised(format!(
                "the keys fit {count} networks at once: the file must hold exactly one"
            )),
        }
    }

    /// Batch normalisation has running statistics; what normalises by groups of channels has not.
    fn refuse_other_norms(&self, keys: &BTreeSet<String>) -> Result<(), Error> {
        let norm = match self {
            Self::Torchvision { .. } => "layer1.0.bn1",
            Self::PreActivation { .. } => "stages.0.blocks.0.norm1",
            _ => return Ok(()),
        };
        let has = |role| keys.contains(&self.key(norm, role));
        if has(Role::Gamma) && !has(Role::Mean) && !has(Role::Variance) {
            return Err(Error::WeightsUnrecognised {
                reason: format!(
                    "'{}' has no running mean: the network normalises by groups (timm's `_gn`, BiT), \
                     not by batch normalisation, which is not supported",
                    self.key(norm, Role::Gamma)
                ),
                hint: None,
            });
        }
        Ok(())
    }

    /// The family.
    pub(super) const fn family(&self) -> Family {
        match self {
            Self::Torchvision { .. } => Family::Torchvision,
            Self::PreActivation { .. } => Family::PreActivation,
            Self::HuggingFace { .. } => Family::HuggingFace,
            Self::Notebook { .. } => Family::Notebook,
            Self::Described => Family::Described,
        }
    }

    /// The key of a parameter.
    pub(super) fn key(&self, layer: &str, role: Role) -> String {
        match self {
            Self::Torchvision { prefix } | Self::PreActivation { prefix } => {
                format!("{prefix}{layer}.{}", role.name())
            }
            Self::Described => format!("{layer}.{}", role.name()),
            Self::HuggingFace { prefix } => hugging_face_key(prefix, layer, role),
            Self::Notebook { suffix } => format!("{layer}/{}{suffix}", role.keras_name()),
        }
    }

    /// Whether kernels are HWIO and matrices `[in, out]`: the reverse of the canonical order in
    /// what is input and what is output.
    pub(super) const fn channels_last(&self) -> bool {
        matches!(self, Self::Notebook { .. })
    }

    /// Whether a layer is a classifier that may be stored as a 1×1 convolution.
    pub(super) fn is_classifier(&self, layer: &str) -> bool {
        matches!(self, Self::PreActivation { .. }) && layer == "head.fc"
    }

    /// Whether a key is a counter of the training, of no use here: PyTorch counts the batches of
    /// every batch normalisation, and old files do not have it.
    pub(super) fn is_counter(key: &str) -> bool {
        key.ends_with(".num_batches_tracked")
    }
}

/// `layer2.0.conv3` is `encoder.stages.1.layers.0.layer.2.convolution` there.
fn hugging_face_key(prefix: &str, layer: &str, role: Role) -> String {
    let name = role.name();
    let kind = match role {
        Role::Weight | Role::Bias => "convolution",
        Role::Gamma | Role::Beta | Role::Mean | Role::Variance => "normalization",
    };
    if layer == "fc" {
        // The classifier is beside the backbone, not in it.
        let outer = prefix.strip_suffix("resnet.").unwrap_or(prefix);
        return format!("{outer}classifier.1.{name}");
    }
    let path: Vec<&str> = layer.split('.').collect();
    let inside = match path[..] {
        [stage, block, unit, ..] => {
            let stage = one_less(stage, "layer");
            let unit = if unit == "downsample" {
                "shortcut".to_owned()
            } else {
                let unit = unit.trim_start_matches("conv").trim_start_matches("bn");
                format!("layer.{}", one_less(unit, ""))
            };
            format!("encoder.stages.{stage}.layers.{block}.{unit}")
        }
        _ => "embedder.embedder".to_owned(),
    };
    format!("{prefix}{inside}.{kind}.{name}")
}

/// The number after a prefix, counted from zero instead of from one.
fn one_less(text: &str, prefix: &str) -> usize {
    let number = text.strip_prefix(prefix).and_then(|n| n.parse().ok());
    number.unwrap_or(1usize).saturating_sub(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(names: &[&str]) -> BTreeSet<String> {
        names.iter().map(|&name| name.to_owned()).collect()
    }

    #[test]
    fn hugging_face_keys_follow_the_torchvision_path() {
        let scheme = Scheme::HuggingFace {
            prefix: "resnet.".to_owned(),
        };
        for (layer, role, expected) in [
            (
                "conv1",
                Role::Weight,
                "resnet.embedder.embedder.convolution.weight",
            ),
            (
                "bn1",
                Role::Mean,
                "resnet.embedder.embedder.normalization.running_mean",
            ),
            (
                "layer2.3.conv3",
                Role::Weight,
                "resnet.encoder.stages.1.layers.3.layer.2.convolution.weight",
            ),
            (
                "layer4.0.bn2",
                Role::Variance,
                "resnet.encoder.stages.3.layers.0.layer.1.normalization.running_var",
            ),
            (
                "layer1.0.downsample.0",
                Role::Weight,
                "resnet.encoder.stages.0.layers.0.shortcut.convolution.weight",
            ),
            (
                "layer1.0.downsample.1",
                Role::Beta,
                "resnet.encoder.stages.0.layers.0.shortcut.normalization.bias",
            ),
            ("fc", Role::Bias, "classifier.1.bias"),
        ] {
            assert_eq!(scheme.key(layer, role), expected, "{layer}");
        }
    }

    #[test]
    fn prefixes_and_suffixes_are_found_by_the_mark() {
        let scheme = Scheme::recognise(
            &keys(&["module.conv1.weight", "module.layer1.0.conv1.weight"]),
            false,
        );
        assert_eq!(
            scheme
                .expect("data-parallel torchvision")
                .key("fc", Role::Weight),
            "module.fc.weight",
            "prefix"
        );
        let scheme =
            Scheme::recognise(&keys(&["res2a_branch2a/kernel:0"]), false).expect("notebook");
        assert_eq!(
            scheme.key("bn_conv1", Role::Variance),
            "bn_conv1/moving_variance:0",
            "suffix"
        );
    }

    #[test]
    fn unknown_unsupported_and_double_networks_are_refused() {
        for (names, expected) in [
            (&["a", "b"][..], "first of 2 keys is 'a'"),
            (&[], "0 keys"),
            (
                &["layer1.0.conv1.weight", "layer1.0.se.fc1.weight"],
                "squeeze",
            ),
            (
                &["layer1.0.conv1.weight", "maxpool.0.weight"],
                "instead of the max pool",
            ),
            (&["layer1.0.conv1.weight", "layer1.0.bn1.weight"], "groups"),
            (
                &[
                    "stages.0.blocks.0.conv1.weight",
                    "stages.0.blocks.0.norm1.weight",
                ],
                "BiT",
            ),
            (
                &["conv1_conv/kernel", "conv2_block1_1_conv/kernel"],
                "keras.applications, which is read from Keras' own files",
            ),
            (&["resnetv17_conv0_weight"], "read from ONNX exports only"),
            (
                &["a.layer1.0.conv1.weight", "b.layer1.0.conv1.weight"],
                "2 networks",
            ),
        ] {
            match Scheme::recognise(&keys(names), false) {
                Err(Error::WeightsUnrecognised { reason, .. }) => {
                    assert!(reason.contains(expected), "{names:?}: {reason}");
                }
                other => panic!("{names:?} gave {other:?}"),
            }
        }
    }
}
