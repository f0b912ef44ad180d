//! What network it is: by its name, or by what the weights show.

use std::fmt;
use std::str::FromStr;

use super::ModelOptions;
use super::config::{self, Config};
use super::decision::{Confidence, Decision};
use super::notebook::{self, NotebookConfig};
use super::preact::PreActConfig;
use super::resnet::{ResNetConfig, StrideSite};
use super::skeleton::Block;
use super::variant::{self, Choice, Variant};
use crate::weights::{Family, Weights};
use resnet_wgpu::Error;

/// A network by its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Arch {
    /// Two blocks of two convolutions in each stage.
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

impl Arch {
    /// All of them.
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

    /// The structure for a number of classes: by default 1000, or the 6 of the lesson.
    pub fn structure(self, classes: Option<usize>) -> Structure {
        let (block, blocks) = match self {
            Self::ResNet18 => (Block::Basic, [2, 2, 2, 2]),
            Self::ResNet34 => (Block::Basic, [3, 4, 6, 3]),
            Self::ResNet50 => (Block::Bottleneck, [3, 4, 6, 3]),
            Self::ResNet101 => (Block::Bottleneck, [3, 4, 23, 3]),
            Self::ResNet152 => (Block::Bottleneck, [3, 8, 36, 3]),
            Self::Notebook => {
                let classes = classes.unwrap_or(notebook::CLASSES);
                return Structure::Notebook(NotebookConfig::new(classes));
            }
        };
        Structure::ResNet(ResNetConfig::new(block, blocks, classes.unwrap_or(1000)))
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

/// The structure of a network of either family.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Structure {
    /// torchvision's, under whatever names.
    ResNet(ResNetConfig),
    /// timm's pre-activation networks.
    PreAct(PreActConfig),
    /// The lesson's.
    Notebook(NotebookConfig),
}

impl Structure {
    /// The name, such as `resnet50`, `resnext50_32x4d` or `notebook`.
    pub fn name(&self) -> String {
        match self {
            Self::ResNet(config) => config.name(),
            Self::PreAct(config) => config.name(),
            Self::Notebook(_) => Arch::Notebook.name().to_owned(),
        }
    }

    /// Number of classes.
    pub const fn classes(&self) -> usize {
        match self {
            Self::ResNet(config) => config.skeleton.classes,
            Self::PreAct(config) => config.skeleton.classes,
            Self::Notebook(config) => config.classes,
        }
    }
}

/// A structure, and what was decided to find it.
pub(super) struct Resolved {
    pub(super) structure: Structure,
    pub(super) decisions: Vec<Decision>,
}

impl Resolved {
    /// A structure that the caller knows.
    pub(super) fn stated(structure: &Structure) -> Self {
        let name = structure.name();
        Self {
            structure: structure.clone(),
            decisions: vec![Decision::certain("architecture", name, "asked for")],
        }
    }

    /// A structure that the weights show.
    fn shown(structure: Structure) -> Self {
        let name = structure.name();
        let architecture = Decision::certain("architecture", name, "shapes of the weights");
        Self {
            structure,
            decisions: vec![architecture],
        }
    }
}

/// The structure to build: the one of the file, or of the name for made-up weights.
pub(super) fn resolve(
    arch: Option<Arch>,
    weights: &Weights,
    config: &Config,
    options: &ModelOptions,
) -> Result<Resolved, Error> {
    let refuse = |model: String, reason: String| Err(Error::Model { model, reason });
    let resolved = match (weights.family(), arch) {
        (family @ (Family::Onnx | Family::Keras), _) => {
            return refuse(
                format!("a file of {family}"),
                "it brings its own graph; open it with `models::open`".to_owned(),
            );
        }
        (Family::Random, None) => {
            return refuse(
                "random weights".to_owned(),
                "they are of no network yet; name an architecture".to_owned(),
            );
        }
        (Family::Random, Some(arch)) => made_up(arch.structure(options.classes), options)?,
        (Family::Notebook, _) => {
            let (config, _) = NotebookConfig::infer(weights, options.variant)?;
            Resolved::shown(Structure::Notebook(config))
        }
        (Family::Described, _) => {
            return refuse(
                "a file that lists its layers".to_owned(),
                "it has no structure to be found; build it with `models::build`".to_owned(),
            );
        }
        (family @ (Family::Torchvision | Family::HuggingFace), _) => {
            let mut structure = ResNetConfig::infer(weights)?;
            let stride = decide_stride(&mut structure, family, config, options.variant)?;
            let first = decide_first_stage(&mut structure, family, config);
            let mut resolved = Resolved::shown(Structure::ResNet(structure));
            resolved.decisions.push(stride);
            resolved.decisions.extend(first);
            resolved
        }
        (Family::PreActivation, _) => {
            pre_activation(PreActConfig::infer(weights)?, config, options.variant)?
        }
    };
    let name = resolved.structure.name();
    if let Some(arch) = arch.filter(|arch| arch.name() != name) {
        return refuse(
            arch.name().to_owned(),
            format!("the weights are of {name}; leave the architecture out to use them"),
        );
    }
    Ok(resolved)
}

/// A network of a name, in the variant asked for.
fn made_up(mut structure: Structure, options: &ModelOptions) -> Result<Resolved, Error> {
    let model = structure.name();
    let nothing = Config::default();
    let stride = match &mut structure {
        Structure::ResNet(config) => Some(decide_stride(
            config,
            Family::Random,
            &nothing,
            options.variant,
        )?),
        Structure::PreAct(_) => None,
        Structure::Notebook(_) => {
            let choice = Choice {
                model: &model,
                possible: &[Variant::Notebook],
                usual: Some((Variant::Notebook, Confidence::Certain)),
                reason: "",
            };
            variant::choose(&choice, options.variant)?;
            None
        }
    };
    let mut resolved = Resolved::stated(&structure);
    resolved.decisions.extend(stride);
    Ok(resolved)
}

/// Where the bottlenecks stride, which no shape shows.
fn decide_stride(
    config: &mut ResNetConfig,
    family: Family,
    file: &Config,
    asked: Option<Variant>,
) -> Result<Decision, Error> {
    let (usual, confidence, evidence) = match (file.downsample_in_bottleneck, family) {
        (Some(true), _) => (Variant::V1, Confidence::Certain, config::CONFIG),
        (Some(false), _) => (Variant::V1_5, Confidence::Certain, config::CONFIG),
        (None, Family::HuggingFace) => (
            Variant::V1_5,
            Confidence::Assumed,
            "the default of Hugging Face; its networks may have `downsample_in_bottleneck`",
        ),
        (None, Family::Random) => (Variant::V1_5, Confidence::Certain, "asked for"),
        _ => (
            Variant::V1_5,
            Confidence::Inferred,
            "the names are torchvision's and timm's, which stride there",
        ),
    };
    let (chosen, mut confidence) = variant::choose(
        &Choice {
            model: &config.name(),
            possible: &[Variant::V1_5, Variant::V1],
            usual: Some((usual, confidence)),
            reason: "",
        },
        asked,
    )?;
    let evidence = if config.skeleton.block == Block::Basic {
        // Its only strided convolution comes first in either variant.
        confidence = Confidence::Certain;
        "a basic block"
    } else if asked.is_some() {
        "asked for"
    } else {
        evidence
    };
    config.stride_site = match chosen {
        Variant::V1 => StrideSite::First,
        _ => StrideSite::Middle,
    };
    let value = match (config.skeleton.block, config.stride_site) {
        (Block::Basic, _) => "first 3x3 of a block",
        (Block::Bottleneck, StrideSite::Middle) => "3x3 of a bottleneck (v1.5)",
        (Block::Bottleneck, StrideSite::First) => "first 1x1 of a bottleneck (v1)",
    };
    Ok(Decision::new("stride", value, evidence, confidence))
}

/// Whether the first stage halves the image, which only Hugging Face's networks do. Blocks that keep
/// the number of channels show it by a projection that they would not need.
fn decide_first_stage(
    structure: &mut ResNetConfig,
    family: Family,
    file: &Config,
) -> Option<Decision> {
    if family != Family::HuggingFace {
        return None;
    }
    let words = |strides| {
        if strides {
            "halves the image"
        } else {
            "keeps the size"
        }
    };
    if structure.skeleton.outputs[0] == structure.skeleton.stem {
        let shown = words(structure.first_stage_strides);
        return Some(Decision::certain(
            "first stage",
            shown,
            "shapes of the weights",
        ));
    }
    let stated = file.downsample_in_first_stage;
    structure.first_stage_strides = stated.unwrap_or(false);
    let value = words(structure.first_stage_strides);
    Some(if stated.is_some() {
        Decision::certain("first stage", value, config::CONFIG)
    } else {
        Decision::assumed("first stage", value, "the default of Hugging Face")
    })
}

/// A network of timm that normalises before it convolves.
fn pre_activation(
    mut structure: PreActConfig,
    file: &Config,
    asked: Option<Variant>,
) -> Result<Resolved, Error> {
    structure.zero_padded_pool = file.zero_padded_pool;
    let choice = Choice {
        model: &structure.name(),
        possible: &[Variant::V2],
        usual: Some((Variant::V2, Confidence::Certain)),
        reason: "",
    };
    variant::choose(&choice, asked)?;
    let stride = match structure.skeleton.block {
        Block::Basic => "first 3x3 of a block",
        Block::Bottleneck => "3x3 of a bottleneck",
    };
    let names = "the names are timm's";
    let pool = if structure.zero_padded_pool {
        Decision::certain("max pool", "3x3/2, padding 1 with zeros", config::CONFIG)
    } else {
        Decision::inferred("max pool", "3x3/2, padding 1", names)
    };
    let mut resolved = Resolved::shown(Structure::PreAct(structure));
    let stride = Decision::inferred("stride", stride, names);
    resolved.decisions.extend([stride, pool]);
    Ok(resolved)
}
