//! What layers and tensors are called: one table for each way of naming.
//!
//! A place in a network, a [`Unit`], gives by the [`Style`] of its plan the name of a layer, and by the
//! [`Naming`] of a file the name of a tensor. [`Naming::recognise`] finds out which naming the tensors
//! of a file have.

use std::collections::BTreeSet;

use super::parts::{head, preprocess, refused};
use super::plan::{Plan, Shortcut, Style};
use crate::error::{Error, Hint};
use crate::network::{Family, Parameter};

/// A place in a network. Stages, blocks and convolutions are counted from zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unit {
    /// A convolution before the max pool, with what belongs to it.
    Stem(usize),
    /// A convolution of a block, with its normalisation.
    Main(Place, usize),
    /// The shortcut of a block.
    Shortcut(Place),
    /// What averages before a block halves the image.
    Blur(Place),
    /// The first layer of a block's squeeze-and-excitation, with the mean before it.
    Squeeze(Place),
    /// The second one, with the gate behind it.
    Excite(Place),
    /// The end of a block, where main path and shortcut meet.
    Sum(Place),
    /// What follows the last block of a pre-activated network.
    Last,
    /// Pooling and classifier.
    Head,
}

/// Where a block stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) stage: usize,
    pub(super) block: usize,
}

/// The layers of a unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    Conv,
    Norm,
    Relu,
    Pool,
    /// A max pool that another pool follows.
    Max,
    Gate,
    Add,
    Flatten,
    Linear,
}

impl Plan {
    /// The name of a layer.
    pub(super) fn layer(&self, unit: Unit, part: Part) -> String {
        if (unit, part) == (Unit::Head, Part::Linear) {
            return self.head.name.clone();
        }
        match self.style {
            Style::Torchvision => self.torchvision(unit, part),
            Style::Timm => self.timm(unit, part),
            Style::Lesson => lesson(unit, part),
        }
    }

    fn torchvision(&self, unit: Unit, part: Part) -> String {
        let deep = self.stem.len() > 1;
        let last = self.stem.len().saturating_sub(1);
        let averages = usize::from(self.shortcut == Shortcut::AveragePool);
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
            (Unit::Excite(place), _) => (place, "se".to_owned()),
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
            (Unit::Squeeze(place) | Unit::Excite(place), _) => (place, "se".to_owned()),
            (Unit::Sum(place), Part::Relu) => (place, "act".to_owned()),
            (Unit::Sum(place), _) => (place, "add".to_owned()),
            (Unit::Last, Part::Norm) => return "norm".to_owned(),
            (Unit::Last, _) => return "norm.act".to_owned(),
            (Unit::Head, _) => return "head.global_pool".to_owned(),
        };
        format!("stages.{}.blocks.{}.{layer}", place.stage, place.block)
    }
}

fn lesson(unit: Unit, part: Part) -> String {
    let block = |Place { stage, block }| format!("{}{}", stage + 2, letter(block));
    let (place, branch) = match (unit, part) {
        (Unit::Stem(_), Part::Conv) => return "conv1".to_owned(),
        (Unit::Stem(_), Part::Norm) => return "bn_conv1".to_owned(),
        (Unit::Stem(_), Part::Pool) => return "max_pool".to_owned(),
        (Unit::Stem(_), _) => return "conv1_relu".to_owned(),
        (Unit::Sum(place), Part::Add) => return format!("res{}_add", block(place)),
        (Unit::Sum(place), _) => return format!("res{}_relu", block(place)),
        (Unit::Last, _) => return "norm".to_owned(),
        (Unit::Head, Part::Flatten) => return "flatten".to_owned(),
        (Unit::Head, _) => return "avg_pool".to_owned(),
        (Unit::Main(place, n), _) => (place, format!("2{}", letter(n))),
        (Unit::Shortcut(place), _) => (place, "1".to_owned()),
        (Unit::Blur(place), _) => (place, "aa".to_owned()),
        (Unit::Squeeze(place) | Unit::Excite(place), _) => (place, "se".to_owned()),
    };
    let rest = format!("{}_branch{branch}", block(place));
    match part {
        Part::Norm => format!("bn{rest}"),
        Part::Relu => format!("res{rest}_relu"),
        _ => format!("res{rest}"),
    }
}

/// a, b, c …; after z come numbers, which no published network has.
fn letter(index: usize) -> String {
    match u8::try_from(index).ok().filter(|index| *index < 26) {
        Some(index) => char::from(b'a' + index).to_string(),
        None => index.to_string(),
    }
}

/// What the tensors of one file are called.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Naming {
    family: Family,
    /// What stands before every name, such as `module.` of a data-parallel training.
    prefix: String,
    /// What stands after every name: `:0` in files of Keras 2.
    suffix: &'static str,
    /// The layer of the classifier, where the file chooses its name.
    classifier: Option<String>,
    /// Modules behind the last pool that are no classifier, and what is said of them.
    left_out: Vec<String>,
    remark: String,
    /// A mean and a standard deviation for each of the normalisations in front.
    normalizations: Vec<[String; 2]>,
}

/// A name that occurs in every network of a family, once.
const MARKS: [(Family, &str); 4] = [
    (Family::Torchvision, "layer1.0.conv1.weight"),
    (Family::HuggingFace, "embedder.embedder.convolution.weight"),
    (Family::PreActivation, "stages.0.blocks.0.conv1.weight"),
    (Family::Notebook, "res2a_branch2a/kernel"),
];

/// A name that torchvision's networks do not have, and those of the first squeeze-and-excitation do.
const SENET_MARK: &str = "layer0.conv1.weight";

impl Naming {
    /// Names for made-up tensors: those of the layers.
    pub(super) const fn made_up() -> Self {
        Self::of(Family::Random, String::new())
    }

    const fn of(family: Family, prefix: String) -> Self {
        Self {
            family,
            prefix,
            suffix: "",
            classifier: None,
            left_out: Vec::new(),
            remark: String::new(),
            normalizations: Vec::new(),
        }
    }

    /// The naming whose marks are among the names of a file.
    ///
    /// # Errors
    /// [`Error::WeightsUnrecognised`] for names of no known family, of several, or of a network with
    /// a part that is not supported.
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
                naming.refuse_other_norms(names)?;
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
            0 if names.iter().any(|name| is_numbered(name)) => unrecognised(
                "the modules have numbers instead of names, as in `nn.Sequential(*model.children())` and \
                 fastai's learners; save the state dict of the network itself, whose names say what each \
                 module is"
                    .to_owned(),
            ),
            0 => {
                let [(_, torchvision), (_, hugging_face), _, (_, notebook)] = MARKS;
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

    /// Batch normalisation has running statistics; what normalises by groups of channels has not.
    fn refuse_other_norms(&self, names: &BTreeSet<String>) -> Result<(), Error> {
        let norm = match self.family {
            Family::Torchvision | Family::Senet => "layer1.0.bn1",
            Family::PreActivation => "stages.0.blocks.0.norm1",
            _ => return Ok(()),
        };
        let name = |parameter: Parameter| format!("{}{norm}.{}", self.prefix, parameter.name());
        let has = |parameter| names.contains(&name(parameter));
        if has(Parameter::Gamma) && !has(Parameter::Mean) && !has(Parameter::Variance) {
            return Err(Error::WeightsUnrecognised {
                reason: format!(
                    "'{}' has no running mean: the network normalises by groups (timm's `_gn`, BiT), \
                     not by batch normalisation, which is not supported",
                    name(Parameter::Gamma)
                ),
                hint: None,
            });
        }
        Ok(())
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

    /// The layer of the classifier, where the file chooses its name.
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
            Family::Notebook => {
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
            // The last of the pools in place of the max pool has a module of its own.
            Family::Torchvision if matches!((unit, part), (Unit::Stem(_), Part::Pool)) => {
                format!("{prefix}maxpool.1.{}", parameter.name())
            }
            _ => format!("{prefix}{}.{}", plan.layer(unit, part), parameter.name()),
        }
    }

    fn hugging_face(&self, plan: &Plan, unit: Unit, part: Part, parameter: Parameter) -> String {
        let prefix = &self.prefix;
        let name = parameter.name();
        let inside = |Place { stage, block }| format!("encoder.stages.{stage}.layers.{block}");
        let path = match unit {
            Unit::Stem(_) if plan.stem.len() == 1 => "embedder.embedder".to_owned(),
            // No network has these.
            Unit::Stem(n) => format!("embedder.embedder.{n}"),
            Unit::Last | Unit::Head => "norm".to_owned(),
            Unit::Main(place, n) => format!("{}.layer.{n}", inside(place)),
            Unit::Blur(place) => format!("{}.aa", inside(place)),
            Unit::Squeeze(place) | Unit::Excite(place) => format!("{}.se", inside(place)),
            Unit::Shortcut(place) | Unit::Sum(place) => format!("{}.shortcut", inside(place)),
        };
        let kind = match part {
            Part::Norm => "normalization",
            _ => "convolution",
        };
        format!("{prefix}{path}.{kind}.{name}")
    }
}

/// Whether a tensor is of the first convolution of a block whose stage has no name: `4.0.conv1.weight`.
fn is_numbered(name: &str) -> bool {
    let Some(block) = name.strip_suffix(".conv1.weight") else {
        return false;
    };
    let number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let mut modules = block.rsplit('.');
    modules.next().is_some_and(number) && modules.next().is_some_and(number)
}

/// The lesson's classifier has the number of classes in its name: `fc6`.
fn lesson_classifier(names: &BTreeSet<String>) -> Option<String> {
    let layers = names.iter().filter_map(|name| name.split_once('/'));
    let mut layers = layers.map(|(layer, _)| layer);
    let found = layers.find(|layer| {
        let number = layer.strip_prefix("fc");
        number.is_some_and(|n| !n.is_empty() && n.bytes().all(|b| b.is_ascii_digit()))
    });
    found.map(str::to_owned)
}
