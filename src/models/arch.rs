//! What network it is: by its name, or by what the weights show, and what their metadata adds.

use std::fmt;
use std::str::FromStr;

use super::notebook::{self, NotebookConfig};
use super::resnet::{self, Block, ResNetConfig, StrideSite};
use super::{Decision, ModelOptions};
use crate::error::Error;
use crate::labels::Labels;
use crate::preprocess::Preprocess;
use crate::weights::{Family, Weights};

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
    /// The lesson's.
    Notebook(NotebookConfig),
}

impl Structure {
    /// The name, such as `resnet50`, `resnext50_32x4d` or `notebook`.
    pub fn name(&self) -> String {
        match self {
            Self::ResNet(config) => config.name(),
            Self::Notebook(_) => Arch::Notebook.name().to_owned(),
        }
    }

    /// Number of classes.
    pub const fn classes(&self) -> usize {
        match self {
            Self::ResNet(config) => config.classes,
            Self::Notebook(config) => config.classes,
        }
    }
}

/// The structure to build: the one of the file, or of the name for made-up weights.
pub(super) fn resolve(
    arch: Option<Arch>,
    weights: &Weights,
    options: &ModelOptions,
) -> Result<Structure, Error> {
    let refuse = |model: String, reason: String| Err(Error::Model { model, reason });
    let mut structure = match (weights.family(), arch) {
        (Family::Onnx, _) => {
            return refuse(
                "an ONNX file".to_owned(),
                "it brings its own graph; open it with `models::open`".to_owned(),
            );
        }
        (Family::Random, None) => {
            return refuse(
                "random weights".to_owned(),
                "they are of no network yet; name an architecture".to_owned(),
            );
        }
        (Family::Random, Some(arch)) => arch.structure(options.classes),
        (Family::Notebook, _) => Structure::Notebook(NotebookConfig::infer(weights)?.0),
        (Family::Torchvision | Family::HuggingFace, _) => {
            Structure::ResNet(ResNetConfig::infer(weights)?)
        }
    };
    if let (Structure::ResNet(config), Some(site)) = (&mut structure, options.stride_site) {
        config.stride_site = site;
    }
    let name = structure.name();
    if let Some(arch) = arch.filter(|arch| arch.name() != name) {
        return refuse(
            arch.name().to_owned(),
            format!("the weights are of {name}; leave the architecture out to use them"),
        );
    }
    Ok(structure)
}

/// What has to be known beside the structure, and where each fact is from.
pub(super) struct Facts {
    pub(super) preprocess: Preprocess,
    pub(super) epsilon: f32,
    pub(super) labels: Option<Labels>,
    pub(super) decisions: Vec<Decision>,
}

impl Facts {
    pub(super) fn gather(
        structure: &Structure,
        weights: &Weights,
        options: &ModelOptions,
    ) -> Result<Self, Error> {
        let classes = structure.classes();
        if options.classes.is_some_and(|asked| asked != classes) {
            return Err(Error::Model {
                model: structure.name(),
                reason: format!(
                    "the weights are of {classes} classes, not {}",
                    options.classes.unwrap_or_default()
                ),
            });
        }
        let mut facts = Self {
            preprocess: Preprocess::TORCHVISION,
            epsilon: 0.0,
            labels: None,
            decisions: Vec::new(),
        };
        let evidence = if weights.path().is_some() {
            "shapes of the weights"
        } else {
            "asked for"
        };
        facts.note("architecture", structure.name(), evidence);
        match weights.path() {
            Some(path) => facts.note(
                "weights",
                format!("{}, {} names", path.display(), weights.family()),
                "key set",
            ),
            None => facts.note("weights", "made up".to_owned(), "no file"),
        }
        facts.decide_epsilon(structure, weights)?;
        facts.decide_geometry(structure);
        facts.decide_preprocess(structure, weights, options)?;
        facts.decide_labels(classes, weights);
        Ok(facts)
    }

    fn note(&mut self, what: &'static str, choice: String, because: &'static str) {
        self.decisions.push(Decision {
            what,
            choice,
            because,
        });
    }

    fn decide_epsilon(&mut self, structure: &Structure, weights: &Weights) -> Result<(), Error> {
        let usual = match structure {
            Structure::ResNet(_) => resnet::EPSILON,
            Structure::Notebook(_) => notebook::EPSILON,
        };
        let (epsilon, because) = match weights.metadata("epsilon") {
            None => (usual, "family"),
            Some(text) => {
                let number = text.trim().parse().ok();
                let number = number.filter(|e: &f32| e.is_finite() && *e >= 0.0);
                let number = number.ok_or_else(|| Error::Model {
                    model: structure.name(),
                    reason: format!("the metadata says epsilon '{text}', which is no number >= 0"),
                })?;
                (number, "metadata")
            }
        };
        self.epsilon = epsilon;
        self.note("epsilon", format!("{epsilon:e}"), because);
        Ok(())
    }

    fn decide_geometry(&mut self, structure: &Structure) {
        match structure {
            Structure::ResNet(config) => {
                let stride = match (config.block, config.stride_site) {
                    (Block::Basic, _) => "first 3x3 of a block",
                    (Block::Bottleneck, StrideSite::Middle) => "3x3 of a bottleneck (v1.5)",
                    (Block::Bottleneck, StrideSite::First) => "first 1x1 of a bottleneck (v1)",
                };
                self.note("stride", stride.to_owned(), "family");
                self.note("max pool", "3x3/2, padding 1".to_owned(), "family");
                self.note("head", "global average, linear".to_owned(), "family");
            }
            Structure::Notebook(_) => {
                let stride = "first 1x1 of a block, and its shortcut";
                self.note("stride", stride.to_owned(), "family");
                self.note("max pool", "3x3/2, no padding".to_owned(), "family");
                let head = "2x2 average, flatten (HWC), linear";
                self.note("head", head.to_owned(), "family");
            }
        }
    }

    fn decide_preprocess(
        &mut self,
        structure: &Structure,
        weights: &Weights,
        options: &ModelOptions,
    ) -> Result<(), Error> {
        let usual = match (structure, weights.family()) {
            (Structure::Notebook(_), _) => Preprocess::NOTEBOOK,
            (_, Family::HuggingFace) => Preprocess::HUGGING_FACE,
            _ => Preprocess::TORCHVISION,
        };
        let mut because = "family";
        self.preprocess = usual;
        if let Some(text) = weights.metadata("preprocess") {
            let stated = Preprocess::named(text).or_else(|| Preprocess::from_json(text).ok());
            if let Some(stated) = stated {
                self.preprocess = stated;
                because = "metadata";
            } else {
                // A remark for people: shown, so that a user can compare it with what was chosen.
                self.note("remark", format!("preprocessing: '{text}'"), "metadata");
            }
        }
        let size = decide_size(structure, weights, options, self.preprocess.size)?;
        self.preprocess = self.preprocess.clone().with_size(size);
        self.preprocess.check()?;
        self.note("preprocessing", self.preprocess.to_string(), because);
        Ok(())
    }

    fn decide_labels(&mut self, classes: usize, weights: &Weights) {
        let keys = ["labels", "classes", "id2label"];
        let Some(text) = keys.into_iter().find_map(|key| weights.metadata(key)) else {
            return;
        };
        // The plain form is a list with commas; a lone number is how many there are.
        let parsed = if text.trim_start().starts_with(['[', '{']) {
            Labels::parse(text).ok()
        } else {
            Some(Labels::new(text.split(',').map(str::trim)))
        };
        match parsed {
            Some(labels) if labels.len() == classes => {
                self.note("labels", format!("{classes} names"), "metadata");
                self.labels = Some(labels);
            }
            _ if text.trim() == classes.to_string() => {}
            _ => {
                let choice =
                    format!("none: the file does not name its {classes} classes one by one");
                self.note("labels", choice, "metadata");
            }
        }
    }
}

/// Rows and columns of the image. The classifier of the notebook family fits some sizes only.
fn decide_size(
    structure: &Structure,
    weights: &Weights,
    options: &ModelOptions,
    stated: [usize; 2],
) -> Result<[usize; 2], Error> {
    let (Structure::Notebook(config), Family::Notebook) = (structure, weights.family()) else {
        return Ok(options.size.unwrap_or(stated));
    };
    let (_, features) = NotebookConfig::infer(weights)?;
    let fitting = config.size_for(features);
    let size = match options.size {
        Some(size) => size,
        None if config.features(stated) == Some(features) => stated,
        None => fitting.ok_or_else(|| Error::Model {
            model: structure.name(),
            reason: format!(
                "the classifier takes {features} features, which no square image gives; state the \
                 size of the images that it was trained with"
            ),
        })?,
    };
    if config.features(size) == Some(features) {
        return Ok(size);
    }
    let [h, w] = size;
    let got = config
        .features(size)
        .map_or_else(|| "is too small".to_owned(), |got| format!("gives {got}"));
    let hint = fitting.map_or_else(String::new, |[h, w]| format!("; use {h}x{w}"));
    Err(Error::Model {
        model: structure.name(),
        reason: format!(
            "the classifier takes {features} features, an image of {h}x{w} {got}{hint}"
        ),
    })
}
