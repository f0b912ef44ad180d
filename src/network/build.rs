//! Turns a described network into a model: every reader ends here.

use std::collections::BTreeMap;

use super::blueprint::{Blueprint, Tensors};
use super::decision::{Decision, Decisions};
use super::resnet::{Arch, Plan};
use super::stages::stages;
use super::{Activation, BnMode, Family, Variant};
use crate::error::Error;
use crate::graph::{Graph, Role};
use crate::picture::{ChannelOrder, Labels, Preprocess};
use crate::tensor::Tensor;

/// The caller's choices; everything else follows from the weights.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct ModelOptions {
    /// The batch size, in images.
    pub batch: usize,
    /// The height and width of the image; if `None`, the nominal size of the network.
    pub size: Option<[usize; 2]>,
    /// The architecture that a file is expected to contain; if `None`, any.
    pub arch: Option<Arch>,
    /// The number of classes for random weights; a file must agree.
    pub classes: Option<usize>,
    /// Whether the graph of a classifier outputs probabilities in addition to the logits.
    pub softmax: bool,
    /// The activation that turns logits into probabilities; if `None`, the one that the file
    /// states, which is nearly always the softmax.
    pub activation: Option<Activation>,
    /// Facts about the network that leave no trace in its file, by name, such as `stem_pool=none`.
    pub settings: BTreeMap<String, String>,
    /// Which network to take if a file has several: the path of a dict in a checkpoint, or a prefix
    /// of tensor names.
    pub entry: Option<String>,
    /// Selects one of several networks with the same weights; if `None`, the usual one.
    pub variant: Option<Variant>,
    /// How images are prepared, whatever the file says of it. Its size counts only for rules that
    /// depend on it; the network's is [`Self::size`].
    pub preprocess: Option<Preprocess>,
    /// The statistics that batch normalisations use; if `None`, those that the file states, which
    /// are nearly always the running ones.
    pub bn_mode: Option<BnMode>,
}

impl Default for ModelOptions {
    /// A single image of the network's nominal size, with probabilities.
    fn default() -> Self {
        Self {
            batch: 1,
            size: None,
            arch: None,
            classes: None,
            softmax: true,
            activation: None,
            settings: BTreeMap::new(),
            entry: None,
            variant: None,
            preprocess: None,
            bn_mode: None,
        }
    }
}

/// What is known about a network apart from its layers.
#[derive(Clone, Debug)]
pub struct Facts {
    /// The name of the architecture, such as `resnet50` or `notebook`.
    pub arch: String,
    /// The origin of the weights.
    pub family: Family,
    /// The plan of the network; `None` for a file that lists its layers one by one.
    pub plan: Option<Plan>,
    /// The preprocessing, at the size for which it was stated: it is rescaled to other sizes from
    /// there, and only once, because rounding errors add up.
    pub preprocess: Preprocess,
    /// The names of the classes, if the file has them.
    pub labels: Option<Labels>,
    /// The decisions made, with their evidence and confidence.
    pub decisions: Decisions,
    /// The activation that turns scores into probabilities, if the file states it.
    pub activation: Option<Activation>,
    /// The name of the probabilities; if `None`, the name of the activation.
    pub probabilities: Option<String>,
}

impl Facts {
    /// Replaces the preparation of images by one that is asked for.
    fn prepare(&mut self, asked: Preprocess, channels_stated: bool, size: [usize; 2]) {
        // A network of grey images reads one channel, whatever is asked for.
        let known = channels_stated || self.preprocess.channels == ChannelOrder::Grey;
        let channels = if known {
            self.preprocess.channels
        } else {
            asked.channels
        };
        // That of rules for images of any size means nothing.
        let free = asked.for_image(size).is_some();
        let size = if free { size } else { asked.size };
        self.preprocess = Preprocess {
            size,
            channels,
            ..asked
        };
        let words = self.preprocess.to_string();
        let decision = Decision::certain("preprocessing", words, "asked for");
        self.decisions.record(decision);
    }
}

/// The scores of a network.
#[derive(Clone, Copy, Debug)]
struct Classifier {
    classes: usize,
    activation: Activation,
}

/// A network, from which models for any batch and image size are made.
#[derive(Clone, Debug)]
pub struct Network {
    blueprint: Blueprint,
    tensors: Tensors,
    classifier: Option<Classifier>,
    /// What is known about it.
    #[doc(hidden)]
    pub facts: Facts,
}

impl Network {
    /// The activation that turns its scores into probabilities; `None` without a classifier.
    #[doc(hidden)]
    pub fn activation(&self) -> Option<Activation> {
        self.classifier.map(|classifier| classifier.activation)
    }

    /// Makes the model for one batch and image size. Options about the network itself, its classes
    /// and its variant took effect when it was opened.
    ///
    /// # Errors
    /// [`Error::Preprocess`], and the [graph section](Error) of the errors if the batch or size is
    /// impossible.
    pub fn model(&self, options: &ModelOptions) -> Result<Model, Error> {
        let size = options.size.unwrap_or(self.blueprint.size);
        let facts = self.facts.clone();
        let preprocess = facts.preprocess.with_size(size);
        preprocess.check()?;
        let mut decisions = facts.decisions;
        decisions.restate("preprocessing", preprocess.to_string());
        let mut graph = self.blueprint.graph(&self.tensors, options.batch, size)?;
        if let Some(mode) = options.bn_mode {
            let count = graph.set_statistics(mode.statistics());
            let value = format!("{mode} statistics in {count} layers");
            decisions.record(Decision::certain("batch norm", value, "asked for"));
        }
        for (role, name) in self.blueprint.roles() {
            let value = graph.find(name)?;
            graph.set_role(role, value)?;
        }
        for (stage, value) in stages(&graph).into_iter().enumerate() {
            graph.set_role(Role::Stage(stage + 1), value)?;
        }
        let last = match self.classifier {
            Some(_) => Role::Logits,
            None => Role::Features,
        };
        if let Some(last) = graph.role(last) {
            graph.mark_output(last)?;
            if let Some(Classifier { activation, .. }) = self.classifier
                && options.softmax
            {
                let mut name = facts
                    .probabilities
                    .unwrap_or_else(|| activation.name().to_owned());
                while graph.find(&name).is_ok() {
                    name.push('_');
                }
                let probabilities = graph.add(&name, activation.op(), &[last])?;
                graph.set_role(Role::Probabilities, probabilities)?;
                graph.mark_output(probabilities)?;
            }
        }
        Ok(Model {
            graph,
            arch: facts.arch,
            family: facts.family,
            plan: facts.plan,
            classes: self.classifier.map(|classifier| classifier.classes),
            activation: self.activation(),
            preprocess,
            labels: facts.labels,
            decisions,
        })
    }
}

#[doc(hidden)]
impl Network {
    /// Assembles a network from its parts; the requested size becomes its nominal size.
    ///
    /// # Errors
    /// [`Error::Model`] if the logits are not class scores, or if their number differs from the
    /// requested one; [`Error::Labels`] if the labels do not match the classes; the [graph
    /// section](Error) for shapes.
    pub fn new(
        (mut blueprint, tensors): (Blueprint, Tensors),
        mut facts: Facts,
        options: &ModelOptions,
    ) -> Result<Self, Error> {
        let graph = blueprint.graph(&tensors, 1, blueprint.size)?;
        check_variances(&blueprint, &tensors)?;
        let refuse = |reason: String| Error::Model {
            model: facts.arch.clone(),
            reason,
        };
        let features = graph.find(&blueprint.features)?;
        let last = match &blueprint.logits {
            Some(name) => graph.find(name)?,
            None => features,
        };
        if last == graph.inputs()[0] {
            return Err(refuse("it computes nothing from its image".to_owned()));
        }
        let shape = graph.shape(last);
        if blueprint.logits.is_some() && [shape.h, shape.w] != [1, 1] {
            return Err(refuse(format!(
                "its logits have the shape {shape}, which is not one score for each class"
            )));
        }
        let classes = blueprint.logits.as_ref().map(|_| shape.c);
        if let Some(asked) = options.classes.filter(|&asked| Some(asked) != classes) {
            return Err(refuse(match classes {
                Some(classes) => format!("the weights are of {classes} classes, not {asked}"),
                None => format!("it has no classifier, so it cannot have {asked} classes"),
            }));
        }
        if let Some((labels, classes)) = facts.labels.as_ref().zip(classes) {
            labels.check(classes)?;
        }
        let classifier = classes.map(|classes| Classifier {
            classes,
            activation: activation(classes, options.activation, &mut facts),
        });
        if let Some(size) = options.size {
            blueprint.resize(size);
        }
        if let Some(asked) = options.preprocess {
            facts.prepare(asked, options.settings.contains_key("bgr"), blueprint.size);
        }
        let rules = facts.preprocess.with_size(blueprint.size);
        rules.check()?;
        let (stated, read) = (rules.channels.count(), blueprint.channels);
        if stated != read {
            return Err(Error::Preprocess {
                reason: format!(
                    "it makes images of {stated} channels, and the network reads {read}"
                ),
            });
        }
        Ok(Self {
            blueprint,
            tensors,
            classifier,
            facts,
        })
    }

    /// The layers.
    pub const fn blueprint(&self) -> &Blueprint {
        &self.blueprint
    }

    /// The tensors of the layers, by name.
    pub const fn tensors(&self) -> &Tensors {
        &self.tensors
    }
}

/// Refuses negative variances, which have no square root.
fn check_variances(blueprint: &Blueprint, tensors: &Tensors) -> Result<(), Error> {
    for name in blueprint.variances() {
        let data = tensors.get(name).map_or(&[][..], Tensor::data);
        if let Some((index, &value)) = data.iter().enumerate().find(|(_, value)| **value < 0.0) {
            return Err(Error::WeightNotFinite {
                name: name.to_owned(),
                index,
                value,
            });
        }
    }
    Ok(())
}

/// Decides the final activation, which turns scores into probabilities. If it is not certain, the
/// reader has recorded why.
fn activation(classes: usize, asked: Option<Activation>, facts: &mut Facts) -> Activation {
    let what = "activation";
    let (decided, decision) = match (asked, facts.activation) {
        (Some(asked), _) => (asked, Decision::certain(what, asked.name(), "asked for")),
        (None, Some(stated)) if facts.decisions.get(what).is_some() => return stated,
        (None, Some(stated)) => {
            let evidence = "the file says it";
            (stated, Decision::certain(what, stated.name(), evidence))
        }
        (None, None) if classes == 1 => {
            let usual = Activation::Sigmoid;
            let evidence = "a single score";
            (usual, Decision::inferred(what, usual.name(), evidence))
        }
        (None, None) => {
            let usual = Activation::Softmax;
            let evidence = "the usual one of classifiers";
            (usual, Decision::inferred(what, usual.name(), evidence))
        }
    };
    facts.decisions.record(decision);
    decided
}

/// A network that is ready to be planned or run.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Model {
    /// The operations, with the roles of their values. The outputs are the logits and, if
    /// requested, the probabilities.
    pub graph: Graph,
    /// The name of the architecture, such as `resnet50` or `notebook`.
    pub arch: String,
    /// The origin of the weights.
    pub family: Family,
    /// The plan of the network; `None` for a file that lists its layers one by one.
    #[doc(hidden)]
    pub plan: Option<Plan>,
    /// The number of classes; `None` for a network without a classifier, whose features are its
    /// only output.
    pub classes: Option<usize>,
    /// The activation that turns logits into probabilities; `None` without a classifier.
    pub activation: Option<Activation>,
    /// The preparation of images, for the size that the graph was built for.
    pub preprocess: Preprocess,
    /// The names of the classes, if the file has them.
    pub labels: Option<Labels>,
    /// The decisions made, with their evidence and confidence.
    pub decisions: Decisions,
}

#[doc(hidden)]
impl Model {
    /// The height and width of the image.
    pub fn size(&self) -> [usize; 2] {
        self.preprocess.size
    }

    /// The number of trained scalars: everything except the running statistics of batch
    /// normalisations.
    pub fn parameter_count(&self) -> usize {
        let params = self.graph.params().iter();
        params
            .filter(|p| !p.name.ends_with(".running_mean") && !p.name.ends_with(".running_var"))
            .map(|p| p.tensor.len())
            .sum()
    }
}
