//! What has to be known beside the structure of a network, and where each fact is from.

use super::arch::{Resolved, Structure};
use super::config::{self, Config};
use super::decision::{Decision, Decisions};
use super::notebook::{self, NotebookConfig};
use super::{ModelOptions, resnet};
use crate::weights::{Family, Weights};
use resnet_wgpu::Error;
use resnet_wgpu::picture::Labels;
use resnet_wgpu::picture::Preprocess;

/// Evidence: the texts that a file says about itself.
const METADATA: &str = "metadata of the file";
/// Evidence: all networks whose tensors have such names.
const FAMILY: &str = "all networks with these names";

/// All facts, with their record.
pub(super) struct Facts {
    pub(super) preprocess: Preprocess,
    pub(super) epsilon: f32,
    pub(super) labels: Option<Labels>,
    pub(super) decisions: Decisions,
}

impl Facts {
    pub(super) fn gather(
        resolved: &Resolved,
        weights: &Weights,
        config: Config,
        options: &ModelOptions,
    ) -> Result<Self, Error> {
        let structure = &resolved.structure;
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
            decisions: resolved.decisions.iter().cloned().collect(),
        };
        let family = weights.family();
        facts.decisions.record(match weights.path() {
            Some(path) => Decision::certain(
                "weights",
                format!("{}, {family} names", path.display()),
                "names of the tensors",
            ),
            None => Decision::certain("weights", "made up", "no file"),
        });
        facts.decide_epsilon(structure, weights)?;
        facts.decide_geometry(structure);
        let config = facts.agreeing(structure, config);
        facts.decide_preprocess(structure, weights, &config, options)?;
        facts.decide_labels(classes, weights, config);
        Ok(facts)
    }

    /// The files beside the weights, unless they are of another network: then they are left out, and
    /// a remark says so.
    fn agreeing(&mut self, structure: &Structure, config: Config) -> Config {
        let classes = config.classes;
        let blocks = match structure {
            Structure::ResNet(structure) => Some(structure.skeleton.blocks),
            _ => None,
        };
        let depths = config.depths.as_deref();
        let reason = if classes.is_some_and(|classes| classes != structure.classes()) {
            format!(
                "it is of {} classes, not {}",
                classes.unwrap_or_default(),
                structure.classes()
            )
        } else if depths.is_some_and(|depths| blocks.is_some_and(|blocks| depths != blocks)) {
            format!("it has stages of {:?} blocks", depths.unwrap_or_default())
        } else {
            if let Some(name) = &config.architecture {
                let named = Decision::certain("name", name.clone(), config::CONFIG);
                self.decisions.record(named);
            }
            return config;
        };
        let remark = format!("config.json beside the file is of another network: {reason}");
        log::warn!("{remark}");
        self.decisions
            .record(Decision::certain("remark", remark, config::CONFIG));
        Config::default()
    }

    fn decide_epsilon(&mut self, structure: &Structure, weights: &Weights) -> Result<(), Error> {
        let (usual, because) = match structure {
            Structure::ResNet(_) | Structure::PreAct(_) => {
                (resnet::EPSILON, "PyTorch's default, kept by this family")
            }
            Structure::Notebook(_) => (notebook::EPSILON, "Keras' default, kept by the lesson"),
        };
        let Some(text) = weights.metadata("epsilon") else {
            self.epsilon = usual;
            let decision = Decision::inferred("epsilon", format!("{usual:e}"), because);
            self.decisions.record(decision);
            return Ok(());
        };
        let number = text.trim().parse().ok();
        let number = number.filter(|e: &f32| e.is_finite() && *e >= 0.0);
        self.epsilon = number.ok_or_else(|| Error::Model {
            model: structure.name(),
            reason: format!("the metadata says epsilon '{text}', which is no number >= 0"),
        })?;
        let value = format!("{:e}", self.epsilon);
        self.decisions
            .record(Decision::certain("epsilon", value, METADATA));
        Ok(())
    }

    fn decide_geometry(&mut self, structure: &Structure) {
        let (max_pool, head) = match structure {
            Structure::ResNet(_) => (Some("3x3/2, padding 1"), "global average, linear"),
            // Its pool was decided with its structure.
            Structure::PreAct(_) => (None, "normalised, global average, linear"),
            Structure::Notebook(_) => {
                let stride = "first 1x1 of a block, and its shortcut";
                self.decisions
                    .record(Decision::inferred("stride", stride, FAMILY));
                (
                    Some("3x3/2, no padding"),
                    "2x2 average, flatten (HWC), linear",
                )
            }
        };
        if let Some(max_pool) = max_pool {
            self.decisions
                .record(Decision::inferred("max pool", max_pool, FAMILY));
        }
        self.decisions
            .record(Decision::inferred("head", head, FAMILY));
    }

    fn decide_preprocess(
        &mut self,
        structure: &Structure,
        weights: &Weights,
        config: &Config,
        options: &ModelOptions,
    ) -> Result<(), Error> {
        // What a file without a word about it is prepared by.
        let (usual, usual_decision) = match (structure, weights.family()) {
            (Structure::Notebook(_), _) => (
                Preprocess::NOTEBOOK,
                Decision::inferred("preprocessing", "", "the lesson's"),
            ),
            (_, Family::HuggingFace) => (
                Preprocess::HUGGING_FACE,
                Decision::assumed("preprocessing", "", "that of microsoft/resnet-50"),
            ),
            (_, Family::Random) => (
                Preprocess::TORCHVISION,
                Decision::certain("preprocessing", "", "any will do for made-up weights"),
            ),
            _ => (
                Preprocess::TORCHVISION,
                Decision::assumed("preprocessing", "", "that of torchvision's first weights"),
            ),
        };
        let mut decision = usual_decision;
        self.preprocess = usual;
        if let Some((rules, evidence)) = &config.preprocess {
            self.preprocess = rules.clone();
            decision = Decision::certain("preprocessing", "", *evidence);
        }
        if let Some(text) = weights.metadata("preprocess") {
            let stated = Preprocess::named(text).or_else(|| Preprocess::from_json(text).ok());
            if let Some(stated) = stated {
                self.preprocess = stated;
                decision = Decision::certain("preprocessing", "", METADATA);
            } else {
                // A remark for people: shown, so that a user can compare it with what was chosen.
                let remark = format!("preprocessing: '{text}'");
                self.decisions
                    .record(Decision::certain("remark", remark, METADATA));
            }
        }
        let size = decide_size(structure, weights, options, self.preprocess.size)?;
        self.preprocess = self.preprocess.clone().with_size(size);
        self.preprocess.check()?;
        decision.value = self.preprocess.to_string();
        self.decisions.record(decision);
        Ok(())
    }

    fn decide_labels(&mut self, classes: usize, weights: &Weights, config: Config) {
        let keys = ["labels", "classes", "id2label"];
        let Some(text) = keys.into_iter().find_map(|key| weights.metadata(key)) else {
            if let Some(labels) = config.labels.filter(|labels| labels.len() == classes) {
                let names = format!("{classes} names");
                self.decisions
                    .record(Decision::certain("labels", names, config::CONFIG));
                self.labels = Some(labels);
            }
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
                let names = format!("{classes} names");
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
    let (_, features) = NotebookConfig::infer(weights, options.variant)?;
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
