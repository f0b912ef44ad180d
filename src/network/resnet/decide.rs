//! Decides what the shapes of a network's tensors do not show, and records the evidence for each
//! fact.

use std::collections::BTreeMap;

use super::naming::Naming;
use super::parts::{
    anti_alias, block, channel_attention, head, scales, selective, shortcut, squeeze_excite, stem,
};
use super::plan::{Block, Plan, StrideSite, Style};
use super::published::{published, usual};
use super::settings;
use super::stated::{CONFIG, Config, Stated};
use crate::error::Error;
use crate::network::{
    Activation, Choice, Confidence, Decision, Decisions, Facts, Family, Variant, choose,
};
use crate::picture::{ChannelOrder, Labels, Preprocess};

/// Evidence: the file's own metadata.
const METADATA: &str = "metadata of the file";
/// Evidence: all networks with such tensor names.
const FAMILY: &str = "all networks with these names";

/// Decides what shapes do not show, such as where blocks stride and whether there is anti-aliasing,
/// and returns all decisions about the parts of the network.
pub(super) fn invisible(
    plan: &mut Plan,
    naming: &Naming,
    stated: &Stated,
    asked: Option<Variant>,
    settings: &BTreeMap<String, String>,
) -> Result<Vec<Decision>, Error> {
    let family = naming.family();
    let config = &stated.config;
    if family == Family::PreActivation {
        let why = "is not for pre-activated networks";
        settings::refuse_others(settings, |name| name != "anti_alias", why)?;
        return pre_activated(plan, config, asked);
    }
    let stride = stride(plan, family, config, asked)?;
    let first = first_stage(plan, family, config);
    let anti_alias = anti_alias::decide(plan, stated, settings)?;
    let attention = squeeze_excite::decision(plan)
        .or_else(|| channel_attention::decision(plan))
        .or_else(|| selective::decision(plan));
    let scales = scales::decision(plan);
    let small = stem::decision(plan, naming);
    let zeros = shortcut::decision(plan);
    let found = [
        Some(stride),
        first,
        anti_alias,
        attention,
        scales,
        small,
        zeros,
    ];
    Ok(found.into_iter().flatten().collect())
}

fn stride(
    plan: &mut Plan,
    family: Family,
    config: &Config,
    asked: Option<Variant>,
) -> Result<Decision, Error> {
    let (usual, confidence, evidence) = match (config.downsample_in_bottleneck, family) {
        (Some(true), _) => (Variant::V1, Confidence::Certain, CONFIG),
        (Some(false), _) => (Variant::V1_5, Confidence::Certain, CONFIG),
        (None, Family::HuggingFace) => (
            Variant::V1_5,
            Confidence::Assumed,
            "the default of Hugging Face; its networks may have `downsample_in_bottleneck`",
        ),
        (None, Family::Senet) => (
            if plan.stride_site == StrideSite::First {
                Variant::V1
            } else {
                Variant::V1_5
            },
            Confidence::Inferred,
            "the names are those of the first SENets, which stride there",
        ),
        (None, Family::Random) => (Variant::V1_5, Confidence::Certain, "asked for"),
        (None, Family::Detectron) if plan.groups == 1 => (
            Variant::V1,
            Confidence::Assumed,
            "the default of Detectron2, `STRIDE_IN_1X1`; its backbones from torchvision stride in the 3x3",
        ),
        (None, Family::Clip) => (
            Variant::V1_5,
            Confidence::Inferred,
            "CLIP's networks average after it",
        ),
        _ => (
            Variant::V1_5,
            Confidence::Inferred,
            "the names are torchvision's and timm's, which stride there",
        ),
    };
    let choice = Choice {
        model: &plan.name(),
        possible: &[Variant::V1_5, Variant::V1],
        usual: Some((usual, confidence)),
        reason: "",
    };
    let (chosen, mut confidence) = choose(&choice, asked)?;
    let evidence = if plan.block == Block::Basic {
        // A basic block strides in its first convolution in either variant.
        confidence = Confidence::Certain;
        "a basic block"
    } else if asked.is_some() {
        "asked for"
    } else {
        evidence
    };
    plan.stride_site = match chosen {
        Variant::V1 => StrideSite::First,
        _ => StrideSite::Middle,
    };
    let words = block::stride_words(plan);
    Ok(Decision::new("stride", words, evidence, confidence))
}

/// Whether the first stage halves the image, as only Hugging Face's networks do. If its blocks keep
/// the number of channels, an otherwise needless projection shows it.
fn first_stage(plan: &mut Plan, family: Family, config: &Config) -> Option<Decision> {
    if family != Family::HuggingFace {
        return None;
    }
    let shown = plan.outputs.first() == Some(&plan.stem_channels());
    let stated = config.downsample_in_first_stage;
    let stride = plan.strides.first_mut()?;
    if !shown {
        *stride = if stated == Some(true) { 2 } else { 1 };
    }
    let words = if *stride == 2 {
        "halves the image"
    } else {
        "keeps the size"
    };
    Some(if shown {
        Decision::certain("first stage", words, "shapes of the weights")
    } else if stated.is_some() {
        Decision::certain("first stage", words, CONFIG)
    } else {
        Decision::assumed("first stage", words, "the default of Hugging Face")
    })
}

fn pre_activated(
    plan: &mut Plan,
    config: &Config,
    asked: Option<Variant>,
) -> Result<Vec<Decision>, Error> {
    // Networks with standardised kernels pad with zeros, as their first implementation did.
    if let Some(pool) = &mut plan.max_pool {
        pool.zeros = config.zero_padded_pool || plan.standardised;
    }
    let choice = Choice {
        model: &plan.name(),
        possible: &[Variant::V2],
        usual: Some((Variant::V2, Confidence::Certain)),
        reason: "",
    };
    choose(&choice, asked)?;
    let names = "the names are timm's";
    let pool = stem::pool_words(plan);
    Ok(vec![
        Decision::inferred("stride", block::stride_words(plan), names),
        if config.zero_padded_pool {
            Decision::certain("max pool", pool, CONFIG)
        } else {
            Decision::inferred("max pool", pool, names)
        },
    ])
}

/// The facts about a network gathered so far.
pub(super) struct Record {
    pub(super) plan: Plan,
    family: Family,
    stated: Stated,
    preprocess: Preprocess,
    labels: Option<Labels>,
    activation: Option<Activation>,
    decisions: Decisions,
}

impl Record {
    pub(super) fn new(plan: Plan, family: Family, stated: Stated) -> Self {
        Self {
            plan,
            family,
            stated,
            preprocess: Preprocess::TORCHVISION,
            labels: None,
            activation: None,
            decisions: Decisions::default(),
        }
    }

    pub(super) fn facts(self) -> Facts {
        Facts {
            arch: self.plan.name(),
            family: self.family,
            plan: Some(self.plan),
            preprocess: self.preprocess,
            labels: self.labels,
            decisions: self.decisions,
            activation: self.activation,
            probabilities: None,
        }
    }

    /// Replaces mean and standard deviation by those of a normalisation layer in the file.
    pub(super) fn normalize(&mut self, normalization: Option<[[f32; 3]; 2]>) {
        let Some([mean, std]) = normalization else {
            return;
        };
        self.preprocess = Preprocess {
            mean,
            std,
            ..self.preprocess
        };
        if let Some(decision) = self.decisions.get("preprocessing").cloned() {
            let evidence = format!(
                "{}; mean and std are tensors of the file",
                decision.evidence
            );
            self.decisions.record(Decision {
                evidence,
                ..decision
            });
        }
    }

    fn metadata(&self, key: &str) -> Option<&str> {
        self.stated.metadata.get(key).map(String::as_str)
    }

    /// Gathers everything but the size and the labels, once the plan is decided.
    pub(super) fn gather(&mut self, found: impl Iterator<Item = Decision>) -> Result<(), Error> {
        self.decisions = found.collect();
        let origin = match &self.stated.path {
            Some(path) => Decision::certain(
                "weights",
                format!("{path}, {} names", self.family),
                "names of the tensors",
            ),
            None => Decision::certain("weights", "made up", "no file"),
        };
        self.decisions.record(origin);
        if let Some(beside) = self.stated.beside.take() {
            self.decisions.record(beside);
        }
        self.decide_epsilon()?;
        self.record_geometry();
        self.check_config();
        self.decide_preprocess();
        Ok(())
    }

    /// Decides the final activation if something states or shows it. `naming` has the name of the
    /// classifier.
    pub(super) fn decide_activation(&mut self, naming: &Naming) {
        if self.plan.classes.is_none() {
            let remark = match naming.remark() {
                "" => "none".to_owned(),
                remark => format!("none: {remark}"),
            };
            let decision = Decision::certain("classifier", remark, "names of the tensors");
            self.decisions.record(decision);
        }
        self.activation = self.stated.config.activation;
        let classifier = naming.classifier().unwrap_or_default();
        if self.activation.is_none() && self.plan.classes > Some(1) && classifier.ends_with(".0") {
            self.activation = Some(Activation::LogSoftmax);
            let evidence = format!(
                "what follows the first layer '{classifier}' has no weights; most have a LogSoftmax"
            );
            let name = Activation::LogSoftmax.name();
            self.decisions
                .record(Decision::assumed("activation", name, evidence));
        }
    }

    fn decide_epsilon(&mut self) -> Result<(), Error> {
        let because = match self.plan.style {
            Style::Torchvision | Style::Timm => "PyTorch's default, kept by this family",
            Style::Lesson | Style::Branches | Style::Blocks | Style::Stacks => {
                "Keras' default, kept by the lesson"
            }
        };
        let decision = match self.metadata("epsilon") {
            None => {
                let usual = format!("{:e}", self.plan.epsilon);
                Decision::inferred("epsilon", usual, because)
            }
            Some(text) => {
                let number = text.trim().parse().ok();
                let number = number.filter(|e: &f32| e.is_finite() && *e >= 0.0);
                let number = number.ok_or_else(|| Error::Model {
                    model: self.plan.name(),
                    reason: format!(
                        "the metadata says epsilon '{text}', which is not a number >= 0"
                    ),
                })?;
                self.plan.epsilon = number;
                Decision::certain("epsilon", format!("{number:e}"), METADATA)
            }
        };
        self.decisions.record(decision);
        Ok(())
    }

    fn record_geometry(&mut self) {
        let plan = &self.plan;
        if plan.style == Style::Lesson {
            let stride = block::stride_words(plan);
            self.decisions
                .record(Decision::inferred("stride", stride, FAMILY));
        }
        // For pre-activated and small networks, it was decided with the plan.
        if !plan.pre_activation && self.decisions.get("max pool").is_none() {
            let pool = stem::pool_words(plan);
            self.decisions
                .record(Decision::inferred("max pool", pool, FAMILY));
        }
        self.decisions
            .record(Decision::inferred("head", head::words(plan), FAMILY));
    }

    /// Ignores the side-car files if they belong to another network, and records a remark.
    fn check_config(&mut self) {
        let plan = &self.plan;
        let config = &self.stated.config;
        let found = plan.classes.unwrap_or_default();
        let classes = config
            .classes
            .filter(|&classes| found != 0 && classes != found);
        let depths = config.depths.as_ref();
        let depths =
            depths.filter(|&depths| plan.style == Style::Torchvision && *depths != plan.blocks);
        let reason = match (classes, depths) {
            (Some(classes), _) => format!("it is of {classes} classes, not {found}"),
            (None, Some(depths)) => format!("it has stages of {depths:?} blocks"),
            (None, None) => {
                if let Some(name) = &config.architecture {
                    let named = Decision::certain("name", name.clone(), CONFIG);
                    self.decisions.record(named);
                }
                return;
            }
        };
        let remark = format!("config.json beside the file belongs to another network: {reason}");
        log::warn!("{remark}");
        self.decisions
            .record(Decision::certain("remark", remark, CONFIG));
        self.stated.config = Config::default();
    }

    fn decide_preprocess(&mut self) {
        let (mut rules, mut decision) = usual(&self.plan, self.family);
        let path = self.stated.path.as_deref().unwrap_or_default();
        if let Some((name, stated)) = published(path) {
            rules = stated;
            let evidence = format!("the hash in the name of the file, that of {name}");
            decision = Decision::certain("preprocessing", "", evidence);
        }
        if let Some((stated, found)) = self.stated.prepared.take() {
            (rules, decision) = (stated, found);
        }
        if let Some((stated, evidence)) = self.stated.config.preprocess.take() {
            rules = stated;
            decision = Decision::certain("preprocessing", "", evidence);
        }
        if let Some(text) = self.metadata("preprocess") {
            let stated = Preprocess::named(text).or_else(|| Preprocess::from_json(text).ok());
            if let Some(stated) = stated {
                rules = stated;
                decision = Decision::certain("preprocessing", "", METADATA);
            } else {
                // Free text, shown so that people can compare it with the preprocessing chosen.
                let remark = format!("preprocessing: '{text}'");
                self.decisions
                    .record(Decision::certain("remark", remark, METADATA));
            }
        }
        match self.plan.image_c {
            1 => rules.channels = ChannelOrder::Grey,
            3 => {}
            channels => {
                rules = Preprocess::of_arrays(channels, rules.size);
                let evidence = "the first convolution takes so many channels";
                decision = Decision::inferred("preprocessing", "", evidence);
            }
        }
        self.preprocess = rules;
        self.decisions.record(decision);
    }

    /// Applies the order of colour channels if it is stated.
    pub(super) fn state_channels(
        &mut self,
        stated: &BTreeMap<String, String>,
    ) -> Result<(), Error> {
        let Some(text) = stated.get("bgr") else {
            return Ok(());
        };
        if self.plan.image_c != 3 {
            let why = "is for a network of coloured images";
            return settings::refuse_others(stated, |name| name != "bgr", why);
        }
        let (channels, words) = if settings::flag("bgr", text)? {
            (ChannelOrder::Bgr, "BGR")
        } else {
            (ChannelOrder::Rgb, "RGB")
        };
        self.preprocess.channels = channels;
        self.decisions
            .record(Decision::certain("channels", words, settings::STATED));
        Ok(())
    }

    /// Decides the image size from the plan and the preprocessing.
    pub(super) fn decide_size(
        &mut self,
        decide: impl FnOnce(&Plan, [usize; 2]) -> Result<[usize; 2], Error>,
    ) -> Result<[usize; 2], Error> {
        let size = decide(&self.plan, self.preprocess.size)?;
        let rules = self.preprocess.with_size(size);
        self.decisions.restate("preprocessing", rules.to_string());
        rules.check()?;
        Ok(size)
    }

    /// Labels a network with ImageNet's class names if it has as many classes.
    pub(super) fn name_classes(&mut self) {
        let names = Labels::imagenet1k();
        self.labels = Some(names).filter(|names| Some(names.len()) == self.plan.classes);
    }

    pub(super) fn decide_labels(&mut self) {
        let Some(classes) = self.plan.classes else {
            return;
        };
        let keys = ["labels", "classes", "id2label"];
        let names = format!("{classes} names");
        let Some(text) = keys.into_iter().find_map(|key| self.metadata(key)) else {
            let labels = self.stated.config.labels.take();
            if let Some(labels) = labels.filter(|labels| labels.len() == classes) {
                self.decisions
                    .record(Decision::certain("labels", names, CONFIG));
                self.labels = Some(labels);
            } else if !self.stated.config.unnamed {
                self.name_classes();
                if self.labels.is_some() {
                    let decision = Decision::inferred(
                        "labels",
                        "ImageNet's",
                        "a network of 1000 classes with these names",
                    );
                    self.decisions.record(decision);
                }
            }
            return;
        };
        // Plain text is a comma-separated list; a single number is the number of classes.
        let parsed = if text.trim_start().starts_with(['[', '{']) {
            Labels::parse(text).ok()
        } else {
            Some(Labels::new(text.split(',').map(str::trim)))
        };
        match parsed {
            Some(labels) if labels.len() == classes => {
                self.decisions
                    .record(Decision::certain("labels", names, METADATA));
                self.labels = Some(labels);
            }
            _ if text.trim() == classes.to_string() => {}
            _ => {
                let none = format!("none: the file does not name its {classes} classes one by one");
                self.decisions
                    .record(Decision::certain("labels", none, METADATA));
            }
        }
    }
}
