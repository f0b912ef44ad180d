//! The layers of a blueprint, and how they become operations of a graph for one image size.

use serde::{Deserialize, Serialize};

use super::blueprint::Tensors;
use super::padding::{Fill, PaddingRule};
use crate::error::Error;
use crate::graph::{
    Add, AttentionPool, AvgPool, BatchNorm, BlurPool, ChannelConv, Conv2d, Flatten, FlattenOrder,
    Gate, GlobalAvgPool, Graph, GroupNorm, Interpolation, Linear, MaxPool, Op, PadValue, Padding,
    ParamId, Relu, Resize, Statistics, ValueId, Window, dilated,
};

/// A layer, whose result has the name of the layer.
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
        /// Vertical and horizontal stride.
        stride: [usize; 2],
        /// Zeros around the image, as a rule.
        padding: PaddingRule,
        /// Vertical and horizontal dilation.
        #[serde(default = "undilated", skip_serializing_if = "is_undilated")]
        dilation: [usize; 2],
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
    /// A normalisation by the statistics of each group of channels in each image.
    GroupNorm {
        /// Scale.
        gamma: String,
        /// Shift.
        beta: String,
        /// The number of channel groups.
        groups: usize,
        /// Added to the variance.
        epsilon: f32,
    },
    /// A one-dimensional convolution along the channels of a vector.
    ChannelConv {
        /// Kernel.
        weight: String,
    },
    /// `max(x, 0)`.
    Relu,
    /// The sum of two values.
    Add,
    /// The maximum over a window.
    MaxPool {
        /// Height and width of the window.
        kernel: [usize; 2],
        /// Vertical and horizontal stride.
        stride: [usize; 2],
        /// The padding around the image, as a rule.
        padding: PaddingRule,
        /// Whether the values outside the image are zeros instead of −∞.
        zeros: bool,
    },
    /// The mean over a window.
    AvgPool {
        /// Height and width of the window.
        kernel: [usize; 2],
        /// Vertical and horizontal stride.
        stride: [usize; 2],
        /// The padding around the image, as a rule.
        padding: PaddingRule,
        /// Whether padding counts towards the mean.
        count_padding: bool,
    },
    /// A 3×3 binomial filter, with reflection padding of one pixel.
    BlurPool {
        /// Vertical and horizontal stride.
        stride: [usize; 2],
    },
    /// Another number of rows and columns, interpolated.
    Resize {
        /// The height and width that result, whatever those of the image are.
        size: [usize; 2],
        /// How pixels are found in between.
        interpolation: Interpolation,
        /// Whether the image must have the aspect ratio that results.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        same_ratio: bool,
    },
    /// The mean over all pixels.
    GlobalAvgPool,
    /// The maximum over all pixels.
    GlobalMaxPool,
    /// For each query of the second input a weighed sum of the pixels of the first one and their mean.
    AttentionPool {
        /// What is added to each of them.
        positions: String,
    },
    /// Every channel of the first input times the sigmoid of its scalar in the second.
    Gate,
    /// Flattens each image into a vector.
    Flatten {
        /// Whether channels are innermost in the vector, rather than outermost.
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

impl Operation {
    /// Whether fixed padding differs between opposite sides, and so may be valid for one size only.
    pub(super) fn is_lopsided(&self) -> bool {
        match self {
            Self::Conv2d { padding, .. }
            | Self::MaxPool { padding, .. }
            | Self::AvgPool { padding, .. } => {
                let sides = padding.sides;
                sides.top != sides.bottom || sides.left != sides.right
            }
            Self::BatchNorm { .. }
            | Self::GroupNorm { .. }
            | Self::ChannelConv { .. }
            | Self::Relu
            | Self::Add
            | Self::BlurPool { .. }
            | Self::Resize { .. }
            | Self::GlobalAvgPool
            | Self::GlobalMaxPool
            | Self::AttentionPool { .. }
            | Self::Gate
            | Self::Flatten { .. }
            | Self::Linear { .. } => false,
        }
    }

    pub(super) fn tensors(&self) -> Vec<&str> {
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
            Self::GroupNorm { gamma, beta, .. } => vec![gamma, beta],
            Self::ChannelConv { weight } => vec![weight],
            Self::AttentionPool { positions } => vec![positions],
            Self::Relu
            | Self::Add
            | Self::MaxPool { .. }
            | Self::AvgPool { .. }
            | Self::BlurPool { .. }
            | Self::Resize { .. }
            | Self::GlobalAvgPool
            | Self::GlobalMaxPool
            | Self::Gate
            | Self::Flatten { .. } => Vec::new(),
        }
    }
}

/// A graph under construction, and the tensors that its parameters are taken from.
pub(super) struct Sheet<'a> {
    pub(super) graph: &'a mut Graph,
    pub(super) tensors: &'a Tensors,
}

impl Sheet<'_> {
    /// Adds a layer: registers its parameters with the graph and resolves its padding rules.
    pub(super) fn add(&mut self, layer: &Layer, inputs: &[ValueId]) -> Result<ValueId, Error> {
        let name = layer.name.as_str();
        let op = match &layer.operation {
            Operation::Conv2d {
                weight,
                bias,
                stride,
                padding,
                dilation,
                groups,
            } => {
                let weight = self.param(weight)?;
                let bias = bias.as_ref().map(|bias| self.param(bias)).transpose()?;
                let covered = dilated(self.kernel(weight), *dilation);
                let window = self.window(name, [covered, *stride], *padding, inputs)?;
                Op::Conv2d(Conv2d {
                    stride: *stride,
                    padding: window.padding,
                    dilation: *dilation,
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
            } => self.batch_norm([gamma, beta, mean, variance], *epsilon, *of_batch)?,
            Operation::GroupNorm {
                gamma,
                beta,
                groups,
                epsilon,
            } => self.group_norm([gamma, beta], *groups, *epsilon)?,
            Operation::ChannelConv { weight } => self.channel_conv(weight)?,
            Operation::AttentionPool { positions } => self.attention_pool(positions)?,
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
            Operation::GlobalMaxPool => Op::MaxPool(global_max(self.size(inputs))),
            Operation::BlurPool { stride } => Op::BlurPool(BlurPool { stride: *stride }),
            Operation::Resize {
                size,
                interpolation,
                same_ratio,
            } => {
                let from = same_ratio.then(|| self.size(inputs));
                resize(name, from, *size, *interpolation)?
            }
            Operation::Gate => Op::Gate(Gate),
            Operation::Flatten { channels_last } => Op::Flatten(flatten(*channels_last)),
            Operation::Linear { weight, bias } => Op::Linear(Linear {
                weight: self.param(weight)?,
                bias: bias.as_ref().map(|bias| self.param(bias)).transpose()?,
            }),
        };
        self.graph.add(name, op, inputs)
    }

    fn channel_conv(&mut self, weight: &str) -> Result<Op, Error> {
        let weight = self.param(weight)?;
        Ok(Op::ChannelConv(ChannelConv { weight }))
    }

    fn attention_pool(&mut self, positions: &str) -> Result<Op, Error> {
        let positions = self.param(positions)?;
        Ok(Op::AttentionPool(AttentionPool { positions }))
    }

    fn batch_norm(
        &mut self,
        [gamma, beta, mean, variance]: [&str; 4],
        epsilon: f32,
        of_batch: bool,
    ) -> Result<Op, Error> {
        Ok(Op::BatchNorm(BatchNorm {
            gamma: self.param(gamma)?,
            beta: self.param(beta)?,
            mean: self.param(mean)?,
            variance: self.param(variance)?,
            epsilon,
            statistics: if of_batch {
                Statistics::Batch
            } else {
                Statistics::Running
            },
            relu: false,
        }))
    }

    fn group_norm(
        &mut self,
        [gamma, beta]: [&str; 2],
        groups: usize,
        epsilon: f32,
    ) -> Result<Op, Error> {
        Ok(Op::GroupNorm(GroupNorm {
            gamma: self.param(gamma)?,
            beta: self.param(beta)?,
            groups,
            epsilon,
        }))
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
        let padding: Option<Padding> = padding.resolve(kernel, stride, self.size(inputs));
        Ok(Window {
            kernel,
            stride,
            padding: padding.ok_or_else(|| geometry(name, "its padding overflows"))?,
        })
    }

    /// Height and width of a kernel. The graph reports one that lacks them.
    fn kernel(&self, weight: ParamId) -> [usize; 2] {
        let dims = self.graph.tensor(weight).dims();
        [2, 3].map(|axis| dims.get(axis).copied().unwrap_or(1))
    }

    /// Height and width of the first input. The graph reports a layer that lacks inputs.
    fn size(&self, inputs: &[ValueId]) -> [usize; 2] {
        inputs.first().map_or([1, 1], |&input| {
            let shape = self.graph.shape(input);
            [shape.h, shape.w]
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
    // TensorFlow's padding may count towards the mean on its own, but fixed and added padding
    // together would count differently.
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

fn flatten(channels_last: bool) -> Flatten {
    let orders = [FlattenOrder::Chw, FlattenOrder::Hwc];
    Flatten {
        order: orders[usize::from(channels_last)],
    }
}

/// The maximum over all pixels of an image of this size.
const fn global_max(kernel: [usize; 2]) -> MaxPool {
    MaxPool {
        window: Window {
            kernel,
            ..Window::square(1, 1)
        },
        pad_value: PadValue::NegInfinity,
    }
}

/// A resizing, of an image that must have the same aspect ratio if its size is given.
fn resize(
    name: &str,
    from: Option<[usize; 2]>,
    size: [usize; 2],
    interpolation: Interpolation,
) -> Result<Op, Error> {
    let [to_h, to_w] = size;
    let differs = |&[h, w]: &[usize; 2]| h.saturating_mul(to_w) != w.saturating_mul(to_h);
    if let Some([h, w]) = from.filter(differs) {
        let reason = format!(
            "it keeps the aspect ratio, so an image of {h}x{w} would have to be cropped or padded to \
             become one of {to_h}x{to_w}, which is not supported; use images of that aspect ratio"
        );
        return Err(geometry(name, &reason));
    }
    Ok(Op::Resize(Resize {
        size,
        interpolation,
    }))
}

const fn undilated() -> [usize; 2] {
    [1, 1]
}

fn is_undilated(dilation: &[usize; 2]) -> bool {
    *dilation == undilated()
}

fn geometry(node: &str, reason: &str) -> Error {
    Error::Geometry {
        node: node.to_owned(),
        reason: reason.to_owned(),
    }
}
