//! A network that its own file describes: what `resnet convert` writes, and how it is read back.
//!
//! The file is safetensors. Its tensors have the names of the graph's parameters, in OIHW and
//! `[out, in]`; for torchvision's and timm's networks these are their own names, so that PyTorch loads
//! the file too. These texts in the metadata say the rest, and leave nothing to be guessed:
//!
//! | key | text |
//! |---|---|
//! | `graph` | the layers, as JSON: a [`Description`] |
//! | `architecture` | name of the network, such as `resnet50d` |
//! | `preprocess` | JSON of [`Preprocess`](resnet_wgpu::picture::Preprocess) |
//! | `labels` | JSON list of the names of the classes, if they are known |
//! | `origin` | what the file was made from, for people |
//! | `format` | `pt`, which Hugging Face's libraries ask for |
//!
//! Of a file without `graph`, `preprocess` (JSON, or a name of
//! [`Preprocess::NAMES`](resnet_wgpu::picture::Preprocess::NAMES)), `labels` and `epsilon` are honoured
//! as well.

mod read;

use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::Model;
use crate::weights::{self, DESCRIPTION};
pub(super) use read::build;
use resnet_wgpu::Error;
use resnet_wgpu::graph::{
    Add, AvgPool, Flatten, FlattenOrder, Graph, Linear, MaxPool, Node, Op, PadValue, Padding,
    ParamId, Role, Statistics, ValueId,
};
use resnet_wgpu::kernels::Precision;

/// The version of the description that is written; others are refused.
const VERSION: u32 = 1;
/// ResNet-152 has 515 layers.
const MAX_LAYERS: usize = 1 << 14;

/// The layers of a network.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Description {
    version: u32,
    /// Name of the image among the values.
    input: String,
    /// Rows and columns of the image.
    size: [usize; 2],
    layers: Vec<Layer>,
    /// Values by name, as in [`Model`].
    feature_map: String,
    features: String,
    logits: String,
}

/// A layer: its name is that of its result.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Layer {
    name: String,
    inputs: Vec<String>,
    #[serde(flatten)]
    op: Operation,
}

/// What a layer does. Parameters are names of tensors.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(tag = "op", rename_all = "snake_case")]
enum Operation {
    Conv2d {
        weight: String,
        #[serde(skip_serializing_if = "Option::is_none")]
        bias: Option<String>,
        stride: [usize; 2],
        /// Above, below, left, right.
        padding: [usize; 4],
        groups: usize,
    },
    BatchNorm {
        gamma: String,
        beta: String,
        mean: String,
        variance: String,
        epsilon: f32,
        /// Whether the statistics are those of the batch, as in training.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        of_batch: bool,
    },
    Relu,
    Add,
    MaxPool {
        kernel: [usize; 2],
        stride: [usize; 2],
        padding: [usize; 4],
        /// Whether zeros are outside of the image, instead of −∞.
        zeros: bool,
    },
    AvgPool {
        kernel: [usize; 2],
        stride: [usize; 2],
        padding: [usize; 4],
        /// Whether what is outside of the image counts.
        count_padding: bool,
    },
    GlobalAvgPool,
    Flatten {
        channels_last: bool,
    },
    Linear {
        weight: String,
        #[serde(skip_serializing_if = "Option::is_none")]
        bias: Option<String>,
    },
}

/// Writes a model, its preprocessing and its labels as one safetensors file that describes itself.
/// The precision is that of kernels and matrices, as in [`weights::save`].
///
/// # Errors
/// [`Error::Write`], and [`Error::Model`] for a graph that was fused already.
pub fn save(model: &Model, path: impl AsRef<Path>, precision: Precision) -> Result<(), Error> {
    let json = |text: Result<String, serde_json::Error>| {
        text.map_err(|error| refuse(format!("cannot be written as JSON: {error}")))
    };
    let mut metadata = HashMap::from([
        ("format".to_owned(), "pt".to_owned()),
        ("architecture".to_owned(), model.arch.clone()),
        (
            DESCRIPTION.to_owned(),
            json(serde_json::to_string(&Description::of(model)?))?,
        ),
        (
            "preprocess".to_owned(),
            json(serde_json::to_string(&model.preprocess))?,
        ),
    ]);
    if let Some(labels) = &model.labels {
        let names: Vec<&str> = labels.iter().collect();
        metadata.insert("labels".to_owned(), json(serde_json::to_string(&names))?);
    }
    if let Some(origin) = model.decisions.get("weights") {
        metadata.insert("origin".to_owned(), origin.value.clone());
    }
    let mut tensors = BTreeMap::new();
    for param in model.graph.params() {
        let earlier = tensors.insert(param.name.as_str(), &param.tensor);
        if earlier.is_some_and(|earlier| *earlier != param.tensor) {
            return Err(refuse(format!(
                "two different tensors are called '{}'",
                param.name
            )));
        }
    }
    weights::save(path.as_ref(), tensors, metadata, precision)
}

impl Description {
    /// Describes a model. Its probabilities are left out: every reader adds them.
    ///
    /// # Errors
    /// [`Error::Model`] for a graph that was fused already.
    pub fn of(model: &Model) -> Result<Self, Error> {
        let graph = &model.graph;
        let value = |id: &ValueId| Ok::<_, Error>(graph.get(*id)?.name.clone());
        let of = |role| Ok::<_, Error>(graph.value_of(role)?.name.clone());
        let probabilities = graph.role(Role::Probabilities);
        let nodes = graph.nodes().iter();
        let nodes = nodes.filter(|node| Some(node.output) != probabilities);
        Ok(Self {
            version: VERSION,
            input: of(Role::Image)?,
            size: model.size(),
            layers: nodes
                .map(|node| {
                    Ok(Layer {
                        name: node.name.clone(),
                        inputs: node.inputs.iter().map(value).collect::<Result<_, _>>()?,
                        op: Operation::of(graph, node)?,
                    })
                })
                .collect::<Result<_, Error>>()?,
            feature_map: of(Role::FeatureMap)?,
            features: of(Role::Features)?,
            logits: of(Role::Logits)?,
        })
    }
}

impl Operation {
    fn of(graph: &Graph, node: &Node) -> Result<Self, Error> {
        let name = |id: ParamId| Ok::<_, Error>(graph.get_param(id)?.name.clone());
        let sides = |p: Padding| [p.top, p.bottom, p.left, p.right];
        Ok(match node.op {
            Op::Conv2d(conv) if !conv.relu && node.inputs.len() == 1 => Self::Conv2d {
                weight: name(conv.weight)?,
                bias: conv.bias.map(name).transpose()?,
                stride: conv.stride,
                padding: sides(conv.padding),
                groups: conv.groups,
            },
            Op::BatchNorm(norm) if !norm.relu => Self::BatchNorm {
                gamma: name(norm.gamma)?,
                beta: name(norm.beta)?,
                mean: name(norm.mean)?,
                variance: name(norm.variance)?,
                epsilon: norm.epsilon,
                of_batch: norm.statistics == Statistics::Batch,
            },
            Op::Relu(_) => Self::Relu,
            Op::Add(Add { relu: false }) => Self::Add,
            Op::MaxPool(MaxPool { window, pad_value }) => Self::MaxPool {
                kernel: window.kernel,
                stride: window.stride,
                padding: sides(window.padding),
                zeros: pad_value == PadValue::Zero,
            },
            Op::AvgPool(AvgPool {
                window,
                count_padding,
            }) => Self::AvgPool {
                kernel: window.kernel,
                stride: window.stride,
                padding: sides(window.padding),
                count_padding,
            },
            Op::GlobalAvgPool(_) => Self::GlobalAvgPool,
            Op::Flatten(Flatten { order }) => Self::Flatten {
                channels_last: order == FlattenOrder::Hwc,
            },
            Op::Linear(Linear { weight, bias }) => Self::Linear {
                weight: name(weight)?,
                bias: bias.map(name).transpose()?,
            },
            _ => {
                return Err(refuse(format!(
                    "the layer '{}' ({}) cannot be described; describe the network before it is \
                     fused",
                    node.name,
                    node.op.kind()
                )));
            }
        })
    }
}

fn refuse(reason: String) -> Error {
    Error::Model {
        model: "the network that the file describes".to_owned(),
        reason,
    }
}
