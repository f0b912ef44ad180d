//! A network as data: layers by name, tensors by name, padding as a rule.
//!
//! A [`Blueprint`] is valid for any batch and image size, and contains no numbers. Serialised as
//! JSON it is also the description in the files that `resnet convert` writes. [`Blueprint::graph`]
//! builds the graph for one size.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};

use super::padding::{Fill, PaddingRule};
use crate::error::Error;
use crate::graph::{
    Add, AvgPool, BatchNorm, BlurPool, Conv2d, Flatten, FlattenOrder, Gate, GlobalAvgPool, Graph,
    Linear, MaxPool, Op, PadValue, Padding, ParamId, Relu, Role, Statistics, ValueId, Window,
};
use crate::tensor::{Shape, Tensor};

/// The version of the description that is written now.
const VERSION: u32 = 2;
/// The first version, whose padding holds for one size only.
const FIXED_VERSION: u32 = 1;
/// ResNet-152 has 515 layers.
const MAX_LAYERS: usize = 1 << 14;

/// Tensors by name.
pub type Tensors = HashMap<String, Tensor>;

/// The layers of a network, and which of their values are notable.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Blueprint {
    version: u32,
    /// The name of the image among the values.
    pub(super) input: String,
    /// The default rows and columns of the image.
    pub(super) size: [usize; 2],
    layers: Vec<Layer>,
    /// Values by name: the last activation with rows and columns, the classifier's input, and its
    /// output, if there is one.
    pub(super) feature_map: String,
    pub(super) features: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) logits: Option<String>,
}

/// A layer, after which its result is named.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Layer {
    pub(super) name: String,
    pub(super) inputs: Vec<String>,
    #[serde(flatten)]
    pub(super) operation: Operation,
}

/// The operation of a layer. Parameters are names of tensors.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "op", rename_all = "snake_case")]
pub enum Operation {
    /// A convolution.
    Conv2d {
        /// Kernel, OIHW.
        weight: String,
        /// Bias.
        #[serde(skip_serializing_if = "Option::is_none")]
        bias: Option<String>,
        /// Rows and columns between two positions of the kernel.
        stride: [usize; 2],
        /// Zeros around the image.
        padding: PaddingRule,
        /// The number of independent channel groups.
        groups: usize,
    },
    /// A batch normalisation.
    BatchNorm {
        /// Scale.
        gamma: String,
        /// Shift.
        beta: String,
        /// Running mean.
        mean: String,
        /// Running variance.
        variance: String,
        /// Added to the variance.
        epsilon: f32,
        /// Whether the statistics are those of the batch, as in training.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        of_batch: bool,
    },
    /// `max(x, 0)`.
    Relu,
    /// The sum of two values.
    Add,
    /// The maximum over a window.
    MaxPool {
        /// Rows and columns of the window.
        kernel: [usize; 2],
        /// Rows and columns between two positions.
        stride: [usize; 2],
        /// The padding around the image.
        padding: PaddingRule,
        /// Whether the values outside the image are zeros instead of −∞.
        zeros: bool,
    },
    /// The mean over a window.
    AvgPool {
        /// Rows and columns of the window.
        kernel: [usize; 2],
        /// Rows and columns between two positions.
        stride: [usize; 2],
        /// The padding around the image.
        padding: PaddingRule,
        /// Whether padding counts in the mean.
        count_padding: bool,
    },
    /// The 3×3 binomial filter over a mirrored image.
    BlurPool {
        /// Rows and columns between two positions.
        stride: [usize; 2],
    },
    /// The mean over all pixels.
    GlobalAvgPool,
    /// Every channel of the first input times the sigmoid of its scalar in the second.
    Gate,
    /// Flattens each image into a vector.
    Flatten {
        /// Whether the channels of a pixel are adjacent.
        channels_last: bool,
    },
    /// A linear layer.
    Linear {
        /// Matrix, `[out, in]`.
        weight: String,
        /// Bias.
        #[serde(skip_serializing_if = "Option::is_none")]
        bias: Option<String>,
    },
}

impl Blueprint {
    pub(super) fn new(
        input: String,
        size: [usize; 2],
        layers: Vec<Layer>,
        [feature_map, features]: [String; 2],
        logits: Option<String>,
    ) -> Self {
        Self {
            version: VERSION,
            input,
            size,
            layers,
            feature_map,
            features,
            logits,
        }
    }

    /// Reads the JSON of a file.
    ///
    /// # Errors
    /// [`Error::Model`] for a text that is not a blueprint, or has an unknown version.
    pub fn from_json(text: &str) -> Result<Self, Error> {
        let mut blueprint: Self = serde_json::from_str(text)
            .map_err(|error| refuse(format!("its JSON is damaged: {error}")))?;
        let version = blueprint.version;
        if version != VERSION && version != FIXED_VERSION {
            return Err(refuse(format!(
                "version {version} is not supported, only {FIXED_VERSION} and {VERSION}; convert \
                 the original again"
            )));
        }
        let mut operations = blueprint.layers.iter().map(|layer| &layer.operation);
        if !operations.any(Operation::is_lopsided) {
            // Equal padding on both sides holds for every size.
            blueprint.version = VERSION;
        }
        let count = blueprint.layers.len();
        if count > MAX_LAYERS {
            return Err(refuse(format!(
                "{count} layers are more than the {MAX_LAYERS} that are accepted"
            )));
        }
        Ok(blueprint)
    }

    /// Writes the text that [`Self::from_json`] reads.
    ///
    /// # Errors
    /// [`Error::Model`] if a number has no JSON form.
    pub fn to_json(&self) -> Result<String, Error> {
        serde_json::to_string(self)
            .map_err(|error| refuse(format!("cannot be written as JSON: {error}")))
    }

    /// The default rows and columns of the image.
    pub const fn size(&self) -> [usize; 2] {
        self.size
    }

    /// The roles of its notable values, and their names.
    pub(super) fn roles(&self) -> impl Iterator<Item = (Role, &str)> {
        let logits = self.logits.as_deref().map(|name| (Role::Logits, name));
        [
            (Role::Image, self.input.as_str()),
            (Role::FeatureMap, &self.feature_map),
            (Role::Features, &self.features),
        ]
        .into_iter()
        .chain(logits)
    }

    /// Changes the nominal size, unless the padding holds for one size only.
    pub(super) fn resize(&mut self, size: [usize; 2]) {
        if self.version != FIXED_VERSION {
            self.size = size;
        }
    }

    /// The names of all tensors, in the order of the layers; a name occurs as often as it is used.
    pub fn tensors(&self) -> impl Iterator<Item = &str> {
        self.layers
            .iter()
            .flat_map(|layer| layer.operation.tensors())
    }

    /// Builds the graph for a batch of images of one size.
    ///
    /// # Errors
    /// [`Error::WeightMissing`] for a missing tensor, [`Error::Model`] for a size for which a file
    /// of the first version has no padding, and the [graph section](Error) for shapes.
    pub fn graph(&self, tensors: &Tensors, batch: usize, size: [usize; 2]) -> Result<Graph, Error> {
        let graph = self.sized(tensors, batch, size)?;
        if self.version == FIXED_VERSION && size != self.size {
            let written = self.sized(tensors, batch, self.size)?;
            self.check_size(&written, &graph)?;
        }
        Ok(graph)
    }

    fn sized(&self, tensors: &Tensors, batch: usize, [h, w]: [usize; 2]) -> Result<Graph, Error> {
        let mut graph = Graph::new();
        graph.input(&self.input, Shape::new(batch, 3, h, w))?;
        for layer in &self.layers {
            let inputs = layer.inputs.iter().map(|name| graph.find(name));
            let inputs = inputs.collect::<Result<Vec<ValueId>, _>>()?;
            let mut sheet = Sheet {
                graph: &mut graph,
                tensors,
            };
            sheet.add(layer, &inputs)?;
        }
        Ok(graph)
    }

    /// One-sided padding depends on the size of the image: TensorFlow's `same` and PyTorch's
    /// `ceil_mode` compute it from the remainder that the stride leaves, and the first version
    /// recorded the result instead of the rule.
    fn check_size(&self, written: &Graph, read: &Graph) -> Result<(), Error> {
        for (old, new) in written.nodes().iter().zip(read.nodes()) {
            let (stride, padding) = match old.op {
                Op::Conv2d(conv) => (conv.stride, conv.padding),
                Op::MaxPool(MaxPool { window, .. }) | Op::AvgPool(AvgPool { window, .. }) => {
                    (window.stride, window.padding)
                }
                _ => continue,
            };
            let [old_shape, new_shape] =
                [(written, old), (read, new)].map(|(graph, node)| graph.shape(node.inputs[0]));
            let left_over = |side: usize, stride: usize| side % stride.max(1);
            let rows = padding.top != padding.bottom
                && left_over(old_shape.h, stride[0]) != left_over(new_shape.h, stride[0]);
            let columns = padding.left != padding.right
                && left_over(old_shape.w, stride[1]) != left_over(new_shape.w, stride[1]);
            if rows || columns {
                let [h, w] = self.size;
                return Err(refuse(format!(
                    "the padding of '{}' is for images of {h}x{w}; convert the original again for \
                     another size",
                    old.name
                )));
            }
        }
        Ok(())
    }
}

impl Operation {
    /// Whether fixed padding is one-sided, and so may hold for one size only.
    fn is_lopsided(&self) -> bool {
        match self {
            Self::Conv2d { padding, .. }
            | Self::MaxPool { padding, .. }
            | Self::AvgPool { padding, .. } => {
                let sides = padding.sides;
                sides.top != sides.bottom || sides.left != sides.right
            }
            Self::BatchNorm { .. }
            | Self::Relu
            | Self::Add
            | Self::BlurPool { .. }
            | Self::GlobalAvgPool
            | Self::Gate
            | Self::Flatten { .. }
            | Self::Linear { .. } => false,
        }
    }

    fn tensors(&self) -> Vec<&str> {
        match self {
            Self::Conv2d { weight, bias, .. } | Self::Linear { weight, bias } => {
                let names = [Some(weight.as_str()), bias.as_deref()];
                names.into_iter().flatten().collect()
            }
            Self::BatchNorm {
                gamma,
                beta,
                mean,
                variance,
                ..
            } => vec![gamma, beta, mean, variance],
            Self::Relu
            | Self::Add
            | Self::MaxPool { .. }
            | Self::AvgPool { .. }
            | Self::BlurPool { .. }
            | Self::GlobalAvgPool
            | Self::Gate
            | Self::Flatten { .. } => Vec::new(),
        }
    }
}

/// A graph under construction, and the tensors from which it takes its parameters.
pub(super) struct Sheet<'a> {
    pub(super) graph: &'a mut Graph,
    pub(super) tensors: &'a Tensors,
}

impl Sheet<'_> {
    /// Adds a layer, turning its parameters into those of the graph and its rules into padding.
    pub(super) fn add(&mut self, layer: &Layer, inputs: &[ValueId]) -> Result<ValueId, Error> {
        let name = layer.name.as_str();
        let op = match &layer.operation {
            Operation::Conv2d {
                weight,
                bias,
                stride,
                padding,
                groups,
            } => {
                let weight = self.param(weight)?;
                // The graph reports what is wrong with a kernel without rows and columns.
                let dims = self.graph.tensor(weight).dims();
                let kernel = [2, 3].map(|axis| dims.get(axis).copied().unwrap_or(1));
                let bias = bias.as_ref().map(|bias| self.param(bias)).transpose()?;
                let window = self.window(name, [kernel, *stride], *padding, inputs)?;
                Op::Conv2d(Conv2d {
                    stride: *stride,
                    padding: window.padding,
                    groups: *groups,
                    ..Conv2d::new(weight).bias(bias)
                })
            }
            Operation::BatchNorm {
                gamma,
                beta,
                mean,
                variance,
                epsilon,
                of_batch,
            } => Op::BatchNorm(BatchNorm {
                gamma: self.param(gamma)?,
                beta: self.param(beta)?,
                mean: self.param(mean)?,
                variance: self.param(variance)?,
                epsilon: *epsilon,
                statistics: if *of_batch {
                    Statistics::Batch
                } else {
                    Statistics::Running
                },
                relu: false,
            }),
            Operation::Relu => Op::Relu(Relu),
            Operation::Add => Op::Add(Add { relu: false }),
            Operation::MaxPool {
                kernel,
                stride,
                padding,
                zeros,
            } => {
                let window = self.window(name, [*kernel, *stride], *padding, inputs)?;
                max_pool(name, window, *padding, *zeros)?
            }
            Operation::AvgPool {
                kernel,
                stride,
                padding,
                count_padding,
            } => {
                let window = self.window(name, [*kernel, *stride], *padding, inputs)?;
                avg_pool(name, window, *padding, *count_padding)?
            }
            Operation::GlobalAvgPool => Op::GlobalAvgPool(GlobalAvgPool),
            Operation::BlurPool { stride } => Op::BlurPool(BlurPool { stride: *stride }),
            Operation::Gate => Op::Gate(Gate),
            Operation::Flatten { channels_last } => Op::Flatten(Flatten {
                order: if *channels_last {
                    FlattenOrder::Hwc
                } else {
                    FlattenOrder::Chw
                },
            }),
            Operation::Linear { weight, bias } => Op::Linear(Linear {
                weight: self.param(weight)?,
                bias: bias.as_ref().map(|bias| self.param(bias)).transpose()?,
            }),
        };
        self.graph.add(name, op, inputs)
    }

    fn param(&mut self, name: &str) -> Result<ParamId, Error> {
        let tensor = self.tensors.get(name);
        let tensor = tensor.ok_or_else(|| Error::WeightMissing {
            name: name.to_owned(),
            expected: Vec::new(),
        })?;
        Ok(self.graph.param(name, tensor.clone()))
    }

    fn window(
        &self,
        name: &str,
        [kernel, stride]: [[usize; 2]; 2],
        padding: PaddingRule,
        inputs: &[ValueId],
    ) -> Result<Window, Error> {
        // The graph reports what is wrong with a layer without inputs.
        let size = inputs.first().map_or([1, 1], |&input| {
            let shape = self.graph.shape(input);
            [shape.h, shape.w]
        });
        let padding: Option<Padding> = padding.resolve(kernel, stride, size);
        Ok(Window {
            kernel,
            stride,
            padding: padding.ok_or_else(|| geometry(name, "its padding overflows"))?,
        })
    }
}

fn max_pool(name: &str, window: Window, rule: PaddingRule, zeros: bool) -> Result<Op, Error> {
    if zeros && window.padding != rule.sides {
        let reason = "padding with zeros and with minus infinity is not supported together";
        return Err(geometry(name, reason));
    }
    let pad_value = if zeros {
        PadValue::Zero
    } else {
        PadValue::NegInfinity
    };
    Ok(Op::MaxPool(MaxPool { window, pad_value }))
}

fn avg_pool(
    name: &str,
    window: Window,
    rule: PaddingRule,
    count_padding: bool,
) -> Result<Op, Error> {
    // Padding added by TensorFlow's rule may count on its own, but fixed sides and added padding
    // count differently.
    let is_same = matches!(rule.fill, Fill::Same | Fill::SameLower);
    let mixed = !is_same || rule.sides != Padding::all(0);
    if count_padding && window.padding != rule.sides && mixed {
        let reason = "a mean that counts a part of its padding is not supported";
        return Err(geometry(name, reason));
    }
    Ok(Op::AvgPool(AvgPool {
        window,
        count_padding,
    }))
}

fn geometry(node: &str, reason: &str) -> Error {
    Error::Geometry {
        node: node.to_owned(),
        reason: reason.to_owned(),
    }
}

/// The error of a file that describes its network.
fn refuse(reason: String) -> Error {
    Error::Model {
        model: "the network that the file describes".to_owned(),
        reason,
    }
}
