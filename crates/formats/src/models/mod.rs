//! Models: from weights to a [`Graph`], with a record of everything that had to be decided.
//!
//! [`build`] is the one entry. It finds out what network the weights are of, or takes the one that
//! is asked for, lets the builder of its family add the nodes, proves that every weight was used,
//! and returns a [`Model`]: the graph, its notable values, and how images have to be prepared.

mod arch;
mod bn_mode;
mod config;
mod decision;
mod facts;
mod layers;
mod notebook;
mod preact;
mod resnet;
mod skeleton;
mod stored;
pub(crate) mod variant;

pub use arch::{Arch, Structure};
pub use bn_mode::BnMode;
pub use decision::{Confidence, Decision, Decisions};
pub use notebook::NotebookConfig;
pub use preact::PreActConfig;
pub use resnet::{ResNetConfig, StrideSite};
pub use skeleton::{Block, Shortcut, Skeleton};
pub use stored::{Description, save};
pub use variant::Variant;

#[cfg(feature = "onnx")]
use std::io::Read;
use std::path::Path;

use arch::Resolved;
use config::Config;
use facts::Facts;

use crate::weights::{Family, Weights};
use resnet_wgpu::Error;
use resnet_wgpu::graph::{Graph, Op, Role, Softmax, ValueId};
use resnet_wgpu::picture::Labels;
use resnet_wgpu::picture::Preprocess;
use resnet_wgpu::tensor::Shape;

/// What the caller decides; the rest follows from the weights.
#[derive(Clone, Debug, PartialEq)]
pub struct ModelOptions {
    /// Images in a batch.
    pub batch: usize,
    /// Rows and columns of the image; those of the family if `None`.
    pub size: Option<[usize; 2]>,
    /// Classes of made-up weights; a file must agree.
    pub classes: Option<usize>,
    /// Whether the graph ends with the probabilities instead of the logits.
    pub softmax: bool,
    /// Which of several networks with the same weights is meant; the usual one if `None`.
    pub variant: Option<Variant>,
    /// Which statistics batch normalisations use; those that the file says, which are nearly always
    /// the running ones, if `None`.
    pub bn_mode: Option<BnMode>,
}

impl Default for ModelOptions {
    /// One image of the family's size, with probabilities.
    fn default() -> Self {
        Self {
            batch: 1,
            size: None,
            classes: None,
            softmax: true,
            variant: None,
            bn_mode: None,
        }
    }
}

/// A network that is ready to be planned or run.
#[derive(Clone, Debug)]
pub struct Model {
    /// The operations, with the roles of their values. Logits, and probabilities if asked for, are its
    /// outputs.
    pub graph: Graph,
    /// Name of the architecture, such as `resnet50` or `notebook`.
    pub arch: String,
    /// Where the weights are from.
    pub family: Family,
    /// Structure of the network; `None` for an ONNX file, which lists the layers one by one.
    pub structure: Option<Structure>,
    /// Classes.
    pub classes: usize,
    /// How images are prepared, for the size that the graph was built for.
    pub preprocess: Preprocess,
    /// Names of the classes, if the file has them.
    pub labels: Option<Labels>,
    /// What was decided, on what evidence, and how sure it is.
    pub decisions: Decisions,
}

impl Model {
    /// Rows and columns of the image.
    pub fn size(&self) -> [usize; 2] {
        self.preprocess.size
    }

    /// Trained numbers: everything but the running statistics of the batch normalisations.
    pub fn parameter_count(&self) -> usize {
        let params = self.graph.params().iter();
        params
            .filter(|p| !p.name.ends_with(".running_mean") && !p.name.ends_with(".running_var"))
            .map(|p| p.tensor.len())
            .sum()
    }
}

/// What a builder needs to know beside the structure.
struct Settings {
    input: Shape,
    epsilon: f32,
}

/// What a builder returns.
struct Body {
    graph: Graph,
    input: ValueId,
    feature_map: ValueId,
    features: ValueId,
    logits: ValueId,
}

/// Opens a weight file of any supported format, recognised by its content, and builds its network.
/// `arch` is checked against the file.
///
/// # Errors
/// As [`Weights::open`] and [`build`], or as `onnx::open`.
pub fn open(
    arch: Option<Arch>,
    path: impl AsRef<Path>,
    options: &ModelOptions,
) -> Result<Model, Error> {
    let path = path.as_ref();
    #[cfg(feature = "onnx")]
    if is_onnx(path) {
        if let Some(arch) = arch {
            return Err(Error::Model {
                model: arch.name().to_owned(),
                reason: "an ONNX file says itself what network it is; leave the architecture out"
                    .to_owned(),
            });
        }
        return crate::onnx::open(path, options);
    }
    #[cfg(feature = "keras")]
    if is_keras(path) {
        if let Some(arch) = arch {
            return Err(Error::Model {
                model: arch.name().to_owned(),
                reason: "a Keras file says itself what network it is; leave the architecture out"
                    .to_owned(),
            });
        }
        return crate::keras::open(path, options);
    }
    build(arch, &mut Weights::open(path)?, options)
}

/// Whether a file is of Keras. What cannot be read is left to [`Weights::open`], which says why.
#[cfg(feature = "keras")]
fn is_keras(path: &Path) -> bool {
    crate::weights::map(path).is_ok_and(|map| crate::keras::is_keras(&map))
}

/// The last activation before the final pooling, and the vector that the classifier reads.
#[cfg(any(feature = "onnx", feature = "keras"))]
pub(crate) fn features(graph: &Graph, logits: ValueId) -> (ValueId, ValueId) {
    let producer = |value| graph.nodes().iter().rev().find(|node| node.output == value);
    let features = producer(logits).map_or(logits, |classifier| classifier.inputs[0]);
    let mut map = features;
    while let Some(node) = producer(map)
        && matches!(
            node.op,
            Op::Flatten(_) | Op::GlobalAvgPool(_) | Op::AvgPool(_)
        )
    {
        map = node.inputs[0];
    }
    (map, features)
}

/// Whether the first bytes of a file are those of ONNX. What cannot be read is left to
/// [`Weights::open`], which says why.
#[cfg(feature = "onnx")]
fn is_onnx(path: &Path) -> bool {
    let mut head = Vec::new();
    let read = std::fs::File::open(path).and_then(|file| file.take(16).read_to_end(&mut head));
    read.is_ok() && crate::weights::is_onnx(&head)
}

/// Builds the network that the weights are of; `arch` is needed for made-up weights only, and
/// checked against a file.
///
/// ```
/// use resnet_wgpu::graph::Role;
/// use resnet_formats::models::{self, Arch, ModelOptions};
/// use resnet_formats::weights::Weights;
///
/// let mut weights = Weights::random(0);
/// let model = models::build(Some(Arch::ResNet18), &mut weights, &ModelOptions::default())?;
/// assert_eq!(model.graph.value_of(Role::Logits)?.name, "fc");
/// # Ok::<(), resnet_wgpu::Error>(())
/// ```
///
/// # Errors
/// [`Error::Model`] when the weights and the options do not fit each other, the
/// [weights section](Error) of the errors for the tensors, [`Error::Geometry`] for images that are
/// too small.
pub fn build(
    arch: Option<Arch>,
    weights: &mut Weights,
    options: &ModelOptions,
) -> Result<Model, Error> {
    if weights.family() == Family::Described {
        return stored::build(arch, weights, options);
    }
    let config = match weights.beside() {
        Some(beside) => Config::read(beside, weights.family())?,
        None => Config::default(),
    };
    let resolved = arch::resolve(arch, weights, &config, options)?;
    build_resolved(&resolved, weights, config, options)
}

/// [`build`] for a structure that is known exactly.
///
/// # Errors
/// As [`build`].
pub fn build_structure(
    structure: &Structure,
    weights: &mut Weights,
    options: &ModelOptions,
) -> Result<Model, Error> {
    let resolved = Resolved::stated(structure);
    build_resolved(&resolved, weights, Config::default(), options)
}

/// Gives the image, the feature map, the features and the logits their roles, and adds the probabilities
/// under the name given.
pub(crate) fn finish(
    graph: &mut Graph,
    [image, map, features, logits]: [ValueId; 4],
    softmax: Option<&str>,
) -> Result<(), Error> {
    graph.set_role(Role::Image, image)?;
    graph.set_role(Role::FeatureMap, map)?;
    graph.set_role(Role::Features, features)?;
    graph.set_role(Role::Logits, logits)?;
    graph.mark_output(logits)?;
    if let Some(name) = softmax {
        let probabilities = graph.add(name, Op::Softmax(Softmax), &[logits])?;
        graph.set_role(Role::Probabilities, probabilities)?;
        graph.mark_output(probabilities)?;
    }
    Ok(())
}

fn build_resolved(
    resolved: &Resolved,
    weights: &mut Weights,
    config: Config,
    options: &ModelOptions,
) -> Result<Model, Error> {
    let structure = &resolved.structure;
    let facts = Facts::gather(resolved, weights, config, options)?;
    let [h, w] = facts.preprocess.size;
    let settings = Settings {
        input: Shape::new(options.batch, 3, h, w),
        epsilon: facts.epsilon,
    };
    let mut body = match structure {
        Structure::ResNet(config) => resnet::build(config, weights, &settings)?,
        Structure::PreAct(config) => preact::build(config, weights, &settings)?,
        Structure::Notebook(config) => notebook::build(config, weights, &settings)?,
    };
    weights.finish()?;

    let softmax = options.softmax.then_some("softmax");
    let ends = [body.input, body.feature_map, body.features, body.logits];
    finish(&mut body.graph, ends, softmax)?;
    let mut model = Model {
        graph: body.graph,
        arch: structure.name(),
        family: weights.family(),
        structure: Some(structure.clone()),
        classes: structure.classes(),
        preprocess: facts.preprocess,
        labels: facts.labels,
        decisions: facts.decisions,
    };
    model.ask_bn_mode(options.bn_mode);
    Ok(model)
}
