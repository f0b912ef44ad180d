//! The names of layers and tensors: one table for each way of naming.
//!
//! The [`Style`] of a plan turns a place in the network, a [`Unit`], into the name of a layer; the
//! [`Naming`] of a file turns it into the name of a tensor. [`Naming::recognise`] finds the naming
//! that the tensors of a file follow.

use std::collections::BTreeSet;

use super::parts::{head, preprocess, refused};
use super::plan::{Plan, Shortcut, Style};
pub(super) use super::unit::{Part, Place, Unit};
use crate::error::{Error, Hint};
use crate::network::{Family, Parameter};

impl Plan {
    /// The name of a layer.
    pub(super) fn layer(&self, unit: Unit, part: Part) -> String {
        if (unit, part) == (Unit::Head, Part::Linear) {
            return self.head.name.clone();
        }
        match self.style {
            Style::Torchvision => self.torchvision(unit, part),
            Style::Timm => self.timm(unit, part),
            Style::Lesson | Style::Branches | Style::Blocks | Style::Stacks => {
                self.keras(unit, part)
            }
        }
    }

    fn torchvision(&self, unit: Unit, part: Part) -> String {
        let deep = self.stem.len() > 1;
        let last = self.stem.len().saturating_sub(1);
        let averages = usize::from(self.shortcut == Shortcut::AveragePool);
        let middle = format!("conv{}", self.block.convolutions() - 1);
        let (place, layer) = match (unit, part) {
            (Unit::Stem(_), Part::Pool) => return "maxpool".to_owned(),
            (Unit::Stem(_), Part::Max) => return "maxpool.0".to_owned(),
            (Unit::Stem(n), Part::Conv) if deep => return format!("conv1.{}", 3 * n),
            (Unit::Stem(n), Part::Norm) if n < last => return format!("conv1.{}", 3 * n + 1),
            (Unit::Stem(n), Part::Relu) if n < last => return format!("conv1.{}", 3 * n + 2),
            (Unit::Stem(_), Part::Conv) => return "conv1".to_owned(),
            (Unit::Stem(_), Part::Norm) => return "bn1".to_owned(),
            (Unit::Stem(_), _) => return "relu".to_owned(),
            (Unit::Main(place, n), Part::Conv) => (place, format!("conv{}", n + 1)),
            (Unit::Main(place, n), Part::Norm) => (place, format!("bn{}", n + 1)),
            (Unit::Main(place, n), _) => (place, format!("relu{}", n + 1)),
            (Unit::Shortcut(place), Part::Conv) => (place, format!("downsample.{averages}")),
            (Unit::Shortcut(place), Part::Norm) => (place, format!("downsample.{}", averages + 1)),
            (Unit::Shortcut(place), _) => (place, "downsample.0".to_owned()),
            (Unit::Blur(place), _) => (place, "aa".to_owned()),
            (Unit::Squeeze(place), Part::Conv) => (place, "se.fc1".to_owned()),
            (Unit::Squeeze(place), Part::Relu) => (place, "se.act".to_owned()),
            (Unit::Squeeze(place), _) => (place, "se.pool".to_owned()),
            (Unit::Excite(place), Part::Conv) => (place, "se.fc2".to_owned()),
            (Unit::Excite(place), _) | (Unit::Channels(place), Part::Gate) => {
                (place, "se".to_owned())
            }
            (Unit::Channels(place), Part::Conv) => (place, "se.conv".to_owned()),
            (Unit::Channels(place), _) => (place, "se.pool".to_owned()),
            (Unit::Path(place, n), part) => {
                let layer = match part {
                    Part::Conv => "conv",
                    Part::Norm => "bn",
                    _ => "act",
                };
                (place, format!("{middle}.paths.{n}.{layer}"))
            }
            (Unit::Reduce(place), part) => {
                let layer = match part {
                    Part::Conv => "fc_reduce",
                    Part::Norm => "bn",
                    Part::Add => "sum",
                    Part::Pool => "pool",
                    _ => "act",
                };
                (place, format!("{middle}.attn.{layer}"))
            }
            (Unit::Choose(place, 0), Part::Conv) => (place, format!("{middle}.attn.fc_select")),
            (Unit::Choose(place, n), Part::Conv) => (place, format!("{middle}.attn.fc_select.{n}")),
            (Unit::Choose(place, n), Part::Gate) => (place, format!("{middle}.attn.{n}")),
            (Unit::Choose(place, _), _) => (place, middle),
            (Unit::Sum(place), Part::Add) => (place, "add".to_owned()),
            (Unit::Sum(place), _) if self.clamps_last => (place, "relu".to_owned()),
            (Unit::Sum(place), _) => (place, format!("relu{}", self.block.convolutions())),
            (Unit::Last, _) => return "norm".to_owned(),
            (Unit::Head, _) => return "avgpool".to_owned(),
        };
        format!("layer{}.{}.{layer}", place.stage + 1, place.block)
    }

    fn timm(&self, unit: Unit, part: Part) -> String {
        let number = |n: usize| {
            if self.stem.len() > 1 {
                (n + 1).to_string()
            } else {
                String::new()
            }
        };
        let (place, layer) = match (unit, part) {
            (Unit::Stem(_), Part::Pool) => return "stem.pool".to_owned(),
            (Unit::Stem(n), Part::Conv) => return format!("stem.conv{}", number(n)),
            (Unit::Stem(n), Part::Norm) => return format!("stem.norm{}", number(n)),
            (Unit::Stem(n), _) => return format!("stem.norm{}.act", number(n)),
            (Unit::Main(place, n), Part::Conv) => (place, format!("conv{}", n + 1)),
            (Unit::Main(place, n), Part::Norm) => (place, format!("norm{}", n + 1)),
            (Unit::Main(place, n), _) => (place, format!("norm{}.act", n + 1)),
            (Unit::Shortcut(place), Part::Conv) => (place, "downsample.conv".to_owned()),
            (Unit::Shortcut(place), Part::Norm) => (place, "downsample.norm".to_owned()),
            (Unit::Shortcut(place), _) => (place, "downsample.pool".to_owned()),
            (Unit::Blur(place), _) => (place, "aa".to_owned()),
            (
                Unit::Squeeze(place)
                | Unit::Excite(place)
                | Unit::Channels(place)
                | Unit::Path(place, _)
                | Unit::Reduce(place)
                | Unit::Choose(place, _),
                _,
            ) => (place, "se".to_owned()),
            (Unit::Sum(place), Part::Relu) => (place, "act".to_owned()),
            (Unit::Sum(place), _) => (place, "add".to_owned()),
            (Unit::Last, Part::Norm) => return "norm".to_owned(),
            (Unit::Last, _) => return "norm.act".to_owned(),
            (Unit::Head, _) => return "head.global_pool".to_owned(),
        };
        format!("stages.{}.blocks.{}.{layer}", place.stage, place.block)
    }

    fn keras(&self, unit: Unit, part: Part) -> String {
        let style = self.style;
        let lesson = style == Style::Lesson;
        let branches = lesson || style == Style::Branches;
        let block = |Place { stage, block }| match style {
            Style::Blocks => format!("conv{}_block{}", stage + 2, block + 1),
            Style::Stacks => format!("stack{stage}_block{block}"),
            _ => format!("res{}{}", stage + 2, letter(block)),
        };
        let kind = match part {
            Part::Conv => "conv",
            Part::Norm => "bn",
            Part::Relu => "relu",
            _ => "pool",
        };
        let (place, number) = match (unit, part) {
            (Unit::Stem(_), Part::Pool) if lesson => return "max_pool".to_owned(),
            (Unit::Stem(_), Part::Pool) => return "pool1_pool".to_owned(),
            (Unit::Stem(_), Part::Conv) if branches => return "conv1".to_owned(),
            (Unit::Stem(_), Part::Norm) if branches => return "bn_conv1".to_owned(),
            (Unit::Stem(n), _) => return format!("conv{}_{kind}", n + 1),
            (Unit::Sum(place), Part::Add) if !self.pre_activation => {
                return format!("{}_add", block(place));
            }
            (Unit::Sum(place), _) if lesson => return format!("{}_relu", block(place)),
            (Unit::Sum(place), _) => return format!("{}_out", block(place)),
            (Unit::Last, _) => return format!("post_{kind}"),
            (Unit::Head, Part::Flatten) => return "flatten".to_owned(),
            (Unit::Head, _) => return "avg_pool".to_owned(),
            (Unit::Blur(place), _) => return format!("{}_aa", block(place)),
            (
                Unit::Squeeze(place)
                | Unit::Excite(place)
                | Unit::Channels(place)
                | Unit::Path(place, _)
                | Unit::Reduce(place)
                | Unit::Choose(place, _),
                _,
            ) => {
                return format!("{}_se", block(place));
            }
            // Keras counts a normalisation with the convolution that it follows.
            (Unit::Main(place, 0), Part::Norm | Part::Relu) if self.pre_activation => {
                let long = style == Style::Stacks;
                let before = if long { "pre_activation" } else { "preact" };
                return format!("{}_{before}_{kind}", block(place));
            }
            (Unit::Main(place, n), Part::Norm | Part::Relu) if self.pre_activation => (place, n),
            (Unit::Main(place, n), _) => (place, n + 1),
            (Unit::Shortcut(place), _) => (place, 0),
        };
        let block = block(place);
        let branch = match number {
            0 => "1".to_owned(),
            number => format!("2{}", letter(number - 1)),
        };
        match part {
            Part::Norm if branches => format!("{}_branch{branch}", block.replacen("res", "bn", 1)),
            Part::Conv if branches => format!("{block}_branch{branch}"),
            Part::Relu if lesson => format!("{block}_branch{branch}_relu"),
            _ => format!("{block}_{number}_{kind}"),
        }
    }
}

/// a, b, c …; after z come numbers, which no published network needs.
fn letter(index: usize) -> String {
    match u8::try_from(index).ok().filter(|index| *index < 26) {
        Some(index) => char::from(b'a' + index).to_string(),
        None => index.to_string(),
    }
}

/// The names of the tensors in one file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Naming {
    family: Family,
    /// The prefix of every name, such as `module.` after data-parallel training.
    prefix: String,
    /// What the module of a shortcut is called where it is not `downsample`.
    shortcut: Option<&'static str>,
    /// The suffix of every name: `:0` in Keras 2 files.
    suffix: &'static str,
    /// The layer of the classifier, if the file chooses its name.
    classifier: Option<String>,
    /// Modules behind the last pool that are no classifier, and what is said of them.
    left_out: Vec<String>,
    remark: String,
    /// A mean and a standard deviation for each of the normalisations in front.
    normalizations: Vec<[String; 2]>,
}

/// A name that occurs exactly once in every network of a family.
const MARKS: [(Family, &str); 6] = [
    (Family::Torchvision, "layer1.0.conv1.weight"),
    (Family::HuggingFace, "embedder.embedder.convolution.weight"),
    (Family::PreActivation, "stages.0.blocks.0.conv1.weight"),
    (Family::Notebook, "res2a_branch2a/kernel"),
    (Family::SelectiveKernels, "layer1.0.conv1.conv.weight"),
    (
        Family::SelectiveKernels,
        "layer1.0.conv1.paths.0.conv.weight",
    ),
];

/// A name that the original squeeze-and-excitation networks have, and torchvision's do not.
const SENET_MARK: &str = "layer0.conv1.weight";

impl Naming {
    /// The naming of random tensors, which are named after the layers.
    pub(super) const fn made_up() -> Self {
        Self::of(Family::Random, String::new())
    }

    /// The names in files of Keras.
    pub(super) const fn keras() -> Self {
        Self::of(Family::Keras, String::new())
    }

    const fn of(family: Family, prefix: String) -> Self {
        Self {
            family,
            prefix,
            shortcut: None,
            suffix: "",
            classifier: None,
            left_out: Vec::new(),
            remark: String::new(),
            normalizations: Vec::new(),
        }
    }

    /// Finds the naming whose mark is among the names in a file.
    ///
    /// # Errors
    /// [`Error::WeightsUnrecognised`] for names that belong to no known family, to several, or to a
    /// network with an unsupported part.
    pub fn recognise(
        names: &BTreeSet<String>,
        dims: impl Fn(&str) -> Option<Vec<usize>>,
    ) -> Result<Self, Error> {
        refused::check(names)?;
        let mut found = Vec::new();
        for name in names {
            let mark = |&(family, mark): &(Family, &str)| match family {
                Family::Notebook => {
                    let rest = name.strip_prefix(mark)?;
                    Some(Self {
                        suffix: if rest == ":0" { ":0" } else { "" },
                        classifier: lesson_classifier(names),
                        ..Self::of(family, String::new())
                    })
                }
                _ => {
                    let prefix = name.strip_suffix(mark)?;
                    let senet = names.contains(&format!("{prefix}{SENET_MARK}"));
                    let family = if senet { Family::Senet } else { family };
                    Some(Self::of(family, prefix.to_owned()))
                }
            };
            found.extend(MARKS.iter().find_map(mark));
        }
        let unrecognised = |reason: String| Err(Error::WeightsUnrecognised { reason, hint: None });
        match found.len() {
            1 => {
                let mut naming = found.remove(0);
                let shortcut = |name: &String| name.contains(".shortcut.");
                if naming.family == Family::Torchvision && names.iter().any(shortcut) {
                    naming.shortcut = Some(".shortcut.");
                }
                if naming.family != Family::Notebook {
                    let outside = names.iter().map(String::as_str);
                    let outside = outside.filter(|name| !naming.is_backbone(name));
                    let outside: Vec<&str> = outside.collect();
                    naming.normalizations = preprocess::normalizations(&outside, &dims);
                    let found = head::find(&outside, &naming.prefix, dims);
                    naming.classifier = found.classifier;
                    naming.left_out = found.left_out;
                    naming.remark = found.remark;
                }
                Ok(naming)
            }
            0 => {
                let [(_, torchvision), (_, hugging_face), _, (_, notebook), ..] = MARKS;
                unrecognised(format!(
                    "no key ends with '{torchvision}' (torchvision, timm) or \
                     '{hugging_face}' (Hugging Face), none is '{notebook}' (the notebook); \
                     the first of {} keys is {}",
                    names.len(),
                    names
                        .first()
                        .map_or_else(|| "missing".to_owned(), |name| format!("'{name}'")),
                ))
            }
            count => {
                let prefixes = found.iter().map(|naming| match naming.prefix.as_str() {
                    "" => "one without a prefix".to_owned(),
                    prefix => format!("'{}'", prefix.trim_end_matches('.')),
                });
                let prefixes = prefixes.collect::<Vec<_>>().join(", ");
                Err(Error::WeightsUnrecognised {
                    reason: format!("the keys fit {count} networks at once: {prefixes}"),
                    hint: Some(Hint::Entry),
                })
            }
        }
    }

    /// The family.
    pub const fn family(&self) -> Family {
        self.family
    }

    /// Whether kernels are HWIO and matrices `[in, out]` in the file.
    pub fn channels_last(&self) -> bool {
        self.family == Family::Notebook
    }

    /// What stands before the names of each network in a file.
    pub fn prefixes(names: &BTreeSet<String>) -> Vec<String> {
        let prefix = |name: &String| {
            let torch = MARKS
                .iter()
                .filter(|(family, _)| *family != Family::Notebook);
            torch
                .filter_map(|(_, mark)| name.strip_suffix(mark))
                .map(str::to_owned)
                .next()
        };
        names.iter().filter_map(prefix).collect()
    }

    /// Whether a tensor is of a module behind the last pool that the network does without.
    pub fn leaves_out(&self, name: &str) -> bool {
        self.left_out.iter().any(|module| name.starts_with(module))
    }

    /// What is said of the modules behind the last pool; empty where there is a classifier or nothing.
    pub(super) fn remark(&self) -> &str {
        &self.remark
    }

    /// A mean and a standard deviation for each of the normalisations in front.
    pub(super) fn normalizations(&self) -> &[[String; 2]] {
        &self.normalizations
    }

    /// Whether a tensor is one before the head.
    pub fn is_backbone(&self, layer: &str) -> bool {
        let modules: &[&str] = match self.family {
            Family::HuggingFace => &["embedder.", "encoder."],
            Family::PreActivation => &["stem.", "stages.", "norm"],
            Family::Notebook => return true,
            _ => &["layer", "conv1", "bn1", "maxpool."],
        };
        let inside = layer.strip_prefix(self.prefix.as_str());
        inside.is_some_and(|rest| modules.iter().any(|module| rest.starts_with(module)))
    }

    /// Whether shortcuts are called as in networks for CIFAR.
    pub(super) const fn has_small_names(&self) -> bool {
        self.shortcut.is_some()
    }

    /// The layer of the classifier, if the file chooses its name.
    pub(super) fn classifier(&self) -> Option<&str> {
        self.classifier.as_deref()
    }

    /// The name of a parameter.
    pub(super) fn tensor(
        &self,
        plan: &Plan,
        unit: Unit,
        part: Part,
        parameter: Parameter,
    ) -> String {
        let prefix = &self.prefix;
        if unit == Unit::Head
            && self.family != Family::Notebook
            && let Some(classifier) = &self.classifier
        {
            return format!("{classifier}.{}", parameter.name());
        }
        match self.family {
            Family::HuggingFace => self.hugging_face(plan, unit, part, parameter),
            Family::Notebook | Family::Keras => {
                let layer = plan.layer(unit, part);
                format!("{layer}/{}{}", parameter.keras_name(), self.suffix)
            }
            Family::Senet => {
                let layer = match unit {
                    Unit::Stem(_) => format!("layer0.{}", plan.layer(unit, part)),
                    _ => plan.layer(unit, part).replace(".se.", ".se_module."),
                };
                format!("{prefix}{layer}.{}", parameter.name())
            }
            Family::SelectiveKernels => {
                let mut layer = plan.layer(unit, part);
                if matches!(unit, Unit::Main(..)) {
                    // A convolution and its normalisation are one module.
                    layer = match part {
                        Part::Norm => layer.replace(".bn", ".conv") + ".bn",
                        _ => layer + ".conv",
                    };
                }
                format!("{prefix}{layer}.{}", parameter.name())
            }
            // The last of the pools that replace the max pool has its own module.
            Family::Torchvision if matches!((unit, part), (Unit::Stem(_), Part::Pool)) => {
                format!("{prefix}maxpool.1.{}", parameter.name())
            }
            _ => {
                let mut layer = plan.layer(unit, part);
                if let Some(shortcut) = self.shortcut {
                    layer = layer.replace(".downsample.", shortcut);
                }
                format!("{prefix}{layer}.{}", parameter.name())
            }
        }
    }

    fn hugging_face(&self, plan: &Plan, unit: Unit, part: Part, parameter: Parameter) -> String {
        let prefix = &self.prefix;
        let name = parameter.name();
        let inside = |Place { stage, block }| format!("encoder.stages.{stage}.layers.{block}");
        let path = match unit {
            Unit::Stem(_) if plan.stem.len() == 1 => "embedder.embedder".to_owned(),
            // No network has these units.
            Unit::Stem(n) => format!("embedder.embedder.{n}"),
            Unit::Last | Unit::Head => "norm".to_owned(),
            Unit::Main(place, n) => format!("{}.layer.{n}", inside(place)),
            Unit::Blur(place) => format!("{}.aa", inside(place)),
            Unit::Squeeze(place)
            | Unit::Excite(place)
            | Unit::Channels(place)
            | Unit::Path(place, _)
            | Unit::Reduce(place)
            | Unit::Choose(place, _) => {
                format!("{}.se", inside(place))
            }
            Unit::Shortcut(place) | Unit::Sum(place) => format!("{}.shortcut", inside(place)),
        };
        let kind = match part {
            Part::Norm => "normalization",
            _ => "convolution",
        };
        format!("{prefix}{path}.{kind}.{name}")
    }
}

/// The lesson's classifier includes the number of classes in its name: `fc6`.
fn lesson_classifier(names: &BTreeSet<String>) -> Option<String> {
    let layers = names.iter().filter_map(|name| name.split_once('/'));
    let mut layers = layers.map(|(layer, _)| layer);
    let found = layers.find(|layer| {
        let number = layer.strip_prefix("fc");
        number.is_some_and(|n| !n.is_empty() && n.bytes().all(|b| b.is_ascii_digit()))
    });
    found.map(str::to_owned)
}
