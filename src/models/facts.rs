//! What has to be known beside the structure of a network, and where each fact is from.

use super::arch::{Resolved, Structure};
use super::decision::{Decision, Decisions};
use super::notebook::{self, NotebookConfig};
use super::{ModelOptions, resnet};
use crate::error::Error;
use crate::labels::Labels;
use crate::preprocess::Preprocess;
use crate::weights::{Family, Weights};

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
        facts.decide_preprocess(structure, weights, options)?;
        facts.decide_labels(classes, weights);
        Ok(facts)
    }

    fn decide_epsilon(&mut self, structure: &Structure, weights: &Weights) -> Result<(), Error> {
        let (usual, because) = match structure {
            Structure::ResNet(_) => (resnet::EPSILON, "PyTorch's default, kept by this family"),
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
            Structure::ResNet(_) => ("3x3/2, padding 1", "global average, linear"),
            Structure::Notebook(_) => {
                let stride = "first 1x1 of a block, and its shortcut";
                self.decisions
                    .record(Decision::inferred("stride", stride, FAMILY));
                ("3x3/2, no padding", "2x2 average, flatten (HWC), linear")
            }
        };
        self.decisions
            .record(Decision::inferred("max pool", max_pool, FAMILY));
        self.decisions
            .record(Decision::inferred("head", head, FAMILY));
    }

    fn decide_preprocess(
        &mut self,
        structure: &Structure,
        weights: &Weights,
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
