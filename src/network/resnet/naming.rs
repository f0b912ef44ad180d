//! The names of layers and tensors, with one table for each naming scheme.
//!
//! The `Style` of a plan maps a position in the network, a [`Unit`], to the name of a layer; the
//! [`Naming`] of a file maps it to the name of a tensor. [`Naming::recognise`] finds the naming
//! that the tensors of a file follow.

use std::collections::BTreeSet;

use super::names::{detectron, without_average};
use super::parts::{head, preprocess, refused};
use super::plan::{Hidden, Plan};
use crate::error::{Error, Hint};
use crate::network::{Family, Parameter};

/// A position in a network. Stages, blocks and convolutions are counted from zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unit {
    /// A convolution before the max pool, with its normalisation and ReLU.
    Stem(usize),
    /// A convolution of a block, with its normalisation.
    Main(Place, usize),
    /// The shortcut of a block.
    Shortcut(Place),
    /// The anti-aliasing pool of a block, which strides in place of a convolution.
    Blur(Place),
    /// The first layer of a block's squeeze-and-excitation, and the global mean before it.
    Squeeze(Place),
    /// Its second layer, and the gate after it.
    Excite(Place),
    /// The efficient channel attention of a block, with its global mean and its gate.
    Channels(Place),
    /// One of two selective kernels, with its normalisation.
    Path(Place, usize),
    /// The part of a block's first convolution that gives to one of several scales, with its normalisation.
    Split(Place, usize),
    /// The convolution of a scale, with its normalisation; the mean of the last one.
    Scale(Place, usize),
    /// The part of a block's last convolution that takes from one of several scales.
    Join(Place, usize),
    /// The first layer of what chooses between them, with the mean before it.
    Reduce(Place),
    /// The second such layer, as the gate of one of the two kernels.
    Choose(Place, usize),
    /// The end of a block, where the main path and the shortcut are added.
    Sum(Place),
    /// The normalisation after the last block of a pre-activated network.
    Last,
    /// Pooling and classifier.
    Head,
    /// A layer between the two.
    Hidden(usize),
    /// A linear layer of an attention pool.
    Attention(Projection),
}

/// The linear layers of an attention pool.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Projection {
    Query,
    Key,
    Value,
    Result,
}

impl Projection {
    /// The letter in its name.
    pub(super) const fn letter(self) -> char {
        match self {
            Self::Query => 'q',
            Self::Key => 'k',
            Self::Value => 'v',
            Self::Result => 'c',
        }
    }
}

/// The position of a block.
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
    /// A max pool that is followed by an anti-aliasing pool.
    Max,
    Gate,
    Add,
    Flatten,
    Linear,
}

/// The names of the tensors in one file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Naming {
    family: Family,
    /// The prefix of every name, such as `module.` after data-parallel training.
    prefix: String,
    /// The name of the shortcut's module, if it is not `downsample`.
    shortcut: Option<&'static str>,
    /// The suffix of every name: `:0` in Keras 2 files.
    suffix: &'static str,
    /// The classifier's layer, if its name is read from the file.
    classifier: Option<String>,
    /// The layers between the last pool and the classifier.
    hidden: Vec<Hidden>,
    /// Modules after the last pool that are not the classifier, and the remark about them.
    left_out: Vec<String>,
    remark: String,
    /// The names of mean and standard deviation, for each normalisation of the input image.
    normalizations: Vec<[String; 2]>,
}

/// A name that occurs exactly once in every network of a family.
const MARKS: [(Family, &str); 7] = [
    (Family::Torchvision, "layer1.0.conv1.weight"),
    (Family::HuggingFace, "embedder.embedder.convolution.weight"),
    (Family::PreActivation, "stages.0.blocks.0.conv1.weight"),
    (Family::Notebook, "res2a_branch2a/kernel"),
    (Family::Detectron, "res2.0.conv1.weight"),
    (Family::SelectiveKernels, "layer1.0.conv1.conv.weight"),
    (
        Family::SelectiveKernels,
        "layer1.0.conv1.paths.0.conv.weight",
    ),
];

/// A name in the original squeeze-and-excitation networks that torchvision's lack.
const SENET_MARK: &str = "layer0.conv1.weight";

/// A name that CLIP's networks have beside torchvision's.
const CLIP_MARK: &str = "attnpool.positional_embedding";

/// What stands beside the images' network in a file of CLIP: what reads texts.
const CLIP_TEXTS: &[&str] = &[
    "transformer.",
    "token_embedding.",
    "positional_embedding",
    "ln_final.",
    "text_projection",
    "logit_scale",
    "logit_bias",
    "text.",
];

impl Naming {
    /// The naming of random tensors: the names of layers.
    pub(super) const fn of_random_weights() -> Self {
        Self::of(Family::Random, String::new())
    }

    /// The names in Keras files.
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
            hidden: Vec::new(),
            left_out: Vec::new(),
            remark: String::new(),
            normalizations: Vec::new(),
        }
    }

    /// Finds the naming whose mark is among the names in a file. The caller may know which layer the
    /// classifier is.
    ///
    /// # Errors
    /// [`Error::WeightsUnrecognised`] for names that belong to no known family, to several, or to a
    /// network with an unsupported part; [`Error::Model`] if there is no such classifier.
    pub fn recognise(
        names: &BTreeSet<String>,
        dims: impl Fn(&str) -> Option<Vec<usize>>,
        classifier: Option<&str>,
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
                    let has = |mark: &str| names.contains(&format!("{prefix}{mark}"));
                    let family = match family {
                        Family::Torchvision if has(SENET_MARK) => Family::Senet,
                        Family::Torchvision if has(CLIP_MARK) => Family::Clip,
                        family => family,
                    };
                    Some(Self::of(family, prefix.to_owned()))
                }
            };
            found.extend(MARKS.iter().find_map(mark));
        }
        let unrecognised = |reason: String| Err(Error::WeightsUnrecognised { reason, hint: None });
        let other = refused::other(names);
        match found.len() {
            1 => {
                let mut naming = found.remove(0);
                if naming.family != Family::Notebook {
                    naming.look_around(names, dims, classifier)?;
                }
                Ok(naming)
            }
            0 if names.iter().any(|name| is_numbered(name)) => unrecognised(
                "the modules have numbers instead of names, as in `nn.Sequential(*model.children())` and \
                 fastai's learners; save the state dict of the network itself, whose names say what each \
                 module is"
                    .to_owned(),
            ),
            0 if other.is_some() => unrecognised(format!(
                "the names are those of {}; only ResNets are read",
                other.unwrap_or_default()
            )),
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

    /// Finds what stands before and behind the backbone.
    fn look_around(
        &mut self,
        names: &BTreeSet<String>,
        dims: impl Fn(&str) -> Option<Vec<usize>>,
        classifier: Option<&str>,
    ) -> Result<(), Error> {
        let shortcut = |name: &String| name.contains(".shortcut.");
        if self.family == Family::Torchvision && names.iter().any(shortcut) {
            self.shortcut = Some(".shortcut.");
        }
        let outside = names.iter().map(String::as_str);
        let outside = outside.filter(|name| !self.is_backbone(name) && !self.is_of_texts(name));
        let outside: Vec<&str> = outside.collect();
        self.normalizations = preprocess::normalizations(&outside, &dims);
        let found = head::find(&outside, &self.prefix, dims, classifier)?;
        self.classifier = found.classifier;
        self.hidden = found.hidden;
        self.left_out = found.left_out;
        self.remark = found.remark;
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

    /// The prefixes of tensor names, one for each network in a file.
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

    /// Whether a tensor belongs to a module after the last pool that is left out of the network.
    pub fn leaves_out(&self, name: &str) -> bool {
        self.is_of_texts(name) || self.left_out.iter().any(|module| name.starts_with(module))
    }

    /// Whether a tensor of CLIP is of what reads texts.
    fn is_of_texts(&self, name: &str) -> bool {
        let outer = self.prefix.strip_suffix("visual.");
        let inside = outer.and_then(|outer| name.strip_prefix(outer));
        self.family == Family::Clip
            && inside.is_some_and(|rest| CLIP_TEXTS.iter().any(|module| rest.starts_with(module)))
    }

    /// The remark about unknown modules after the last pool; empty if there are none.
    pub(super) fn remark(&self) -> &str {
        &self.remark
    }

    /// The names of mean and standard deviation, for each normalisation of the input image.
    pub(super) fn normalizations(&self) -> &[[String; 2]] {
        &self.normalizations
    }

    /// Whether a tensor belongs to the backbone.
    pub fn is_backbone(&self, layer: &str) -> bool {
        let modules: &[&str] = match self.family {
            Family::HuggingFace => &["embedder.", "encoder."],
            Family::PreActivation => &["stem.", "stages.", "norm"],
            Family::Notebook => return true,
            Family::Detectron => &["stem.", "res2.", "res3.", "res4.", "res5."],
            Family::Clip => &["layer", "conv", "bn", "attnpool."],
            _ => &["layer", "conv1", "bn1", "maxpool."],
        };
        let inside = layer.strip_prefix(self.prefix.as_str());
        inside.is_some_and(|rest| modules.iter().any(|module| rest.starts_with(module)))
    }

    /// Whether shortcuts are named as in networks for CIFAR.
    pub(super) const fn has_small_names(&self) -> bool {
        self.shortcut.is_some()
    }

    /// The classifier's layer, if its name is read from the file.
    pub(super) fn classifier(&self) -> Option<&str> {
        self.classifier.as_deref()
    }

    /// The layers between the last pool and the classifier, by their names in the file.
    pub(super) fn hidden(&self) -> &[Hidden] {
        &self.hidden
    }

    /// The name of a parameter's tensor.
    pub(super) fn tensor(
        &self,
        plan: &Plan,
        unit: Unit,
        part: Part,
        parameter: Parameter,
    ) -> String {
        let prefix = &self.prefix;
        if parameter == Parameter::Positions {
            return format!("{prefix}{CLIP_MARK}");
        }
        if let Some(layer) = self.after_pool(unit) {
            return format!("{layer}.{}", parameter.name());
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
                    // Each convolution and its normalisation share a module.
                    layer = match part {
                        Part::Norm => layer.replace(".bn", ".conv") + ".bn",
                        _ => layer + ".conv",
                    };
                }
                format!("{prefix}{layer}.{}", parameter.name())
            }
            Family::Detectron => {
                let layer = detectron(&plan.layer(unit, part));
                format!("{prefix}{layer}.{}", parameter.name())
            }
            Family::Clip => {
                let layer = match unit {
                    Unit::Stem(n) if part == Part::Conv => format!("conv{}", n + 1),
                    Unit::Stem(n) => format!("bn{}", n + 1),
                    _ => without_average(&plan.layer(unit, part)),
                };
                format!("{prefix}{layer}.{}", parameter.name())
            }
            // The last of the pools that replace the max pool has its own module.
            Family::Torchvision if matches!((unit, part), (Unit::Stem(_), Part::Pool)) => {
                format!("{prefix}maxpool.1.{}", parameter.name())
            }
            _ if plan.selective.as_ref().is_some_and(|s| s.stacked) => {
                let layer = plan.layer(unit, part);
                let place = layer.split(".conv2.").next().unwrap_or_default();
                let own = match (unit, part) {
                    (Unit::Path(..), Part::Norm) => "bn0",
                    (Unit::Path(..), _) => "conv",
                    (Unit::Reduce(_), Part::Norm) => "bn1",
                    (Unit::Reduce(_), _) => "fc1",
                    (Unit::Choose(..), _) => "fc2",
                    _ => return format!("{prefix}{layer}.{}", parameter.name()),
                };
                format!("{prefix}{place}.conv2.{own}.{}", parameter.name())
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

    /// The layer of a unit after the last pool, if its name is read from the file.
    fn after_pool(&self, unit: Unit) -> Option<&str> {
        match unit {
            Unit::Hidden(n) => self.hidden.get(n).map(|layer| layer.name.as_str()),
            Unit::Head if self.family != Family::Notebook => self.classifier(),
            _ => None,
        }
    }

    fn hugging_face(&self, plan: &Plan, unit: Unit, part: Part, parameter: Parameter) -> String {
        let prefix = &self.prefix;
        let name = parameter.name();
        let inside = |Place { stage, block }| format!("encoder.stages.{stage}.layers.{block}");
        let path = match unit {
            Unit::Stem(_) if plan.stem.len() == 1 => "embedder.embedder".to_owned(),
            // Hugging Face's networks do not have these units.
            Unit::Stem(n) => format!("embedder.embedder.{n}"),
            Unit::Last | Unit::Head | Unit::Hidden(_) => "norm".to_owned(),
            Unit::Main(place, n) => format!("{}.layer.{n}", inside(place)),
            Unit::Blur(place) => format!("{}.aa", inside(place)),
            Unit::Squeeze(place)
            | Unit::Excite(place)
            | Unit::Channels(place)
            | Unit::Path(place, _)
            | Unit::Split(place, _)
            | Unit::Scale(place, _)
            | Unit::Join(place, _)
            | Unit::Reduce(place)
            | Unit::Choose(place, _) => {
                format!("{}.se", inside(place))
            }
            Unit::Attention(_) => "attention".to_owned(),
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
