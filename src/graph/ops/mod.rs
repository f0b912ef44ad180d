//! The operations: one file each.

mod add;
mod avg_pool;
mod avg_pool_gradient;
mod batch_norm;
mod channel_dot;
mod class_gradient;
mod conv2d;
mod dilate;
mod flatten;
mod global_avg_pool;
mod linear;
mod max_pool;
mod relu;
mod relu_gradient;
mod softmax;

use super::ParamId;

pub use add::Add;
pub use avg_pool::AvgPool;
pub use avg_pool_gradient::AvgPoolGradient;
pub use batch_norm::{BatchNorm, Statistics};
pub use channel_dot::ChannelDot;
pub use class_gradient::ClassGradient;
pub use conv2d::Conv2d;
pub use dilate::Dilate;
pub use flatten::{Flatten, FlattenOrder};
pub use global_avg_pool::GlobalAvgPool;
pub use linear::Linear;
pub use max_pool::{MaxPool, PadValue};
pub use relu::Relu;
pub use relu_gradient::ReluGradient;
pub use softmax::Softmax;

/// One operation. Inputs are listed by the node; parameters are part of the op.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Op {
    /// Convolution of input 0, plus input 1 (the residual) if there is one.
    Conv2d(Conv2d),
    /// Batch normalisation.
    BatchNorm(BatchNorm),
    /// `max(x, 0)`.
    Relu(Relu),
    /// Sum of two activations of the same shape.
    Add(Add),
    /// Maximum over a window.
    MaxPool(MaxPool),
    /// Mean over a window.
    AvgPool(AvgPool),
    /// Mean over all pixels of an image, per channel.
    GlobalAvgPool(GlobalAvgPool),
    /// All scalars of an image as channels of one pixel.
    Flatten(Flatten),
    /// `y = W·x + b` on images of one pixel.
    Linear(Linear),
    /// `exp(x) / Σ exp(x)` over the channels of images of one pixel.
    Softmax(Softmax),
    /// The gradient of one logit with respect to what the classifier reads.
    ClassGradient(ClassGradient),
    /// The gradient of a ReLU.
    ReluGradient(ReluGradient),
    /// The gradient of a mean over a window.
    AvgPoolGradient(AvgPoolGradient),
    /// Zeros between pixels.
    Dilate(Dilate),
    /// Scalar product along the channels.
    ChannelDot(ChannelDot),
}

impl Op {
    /// The kind of the op in lower case, as kernels and tables call it.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Conv2d(_) => "conv2d",
            Self::BatchNorm(_) => "batch_norm",
            Self::Relu(_) => "relu",
            Self::Add(_) => "residual_add",
            Self::MaxPool(_) => "max_pool",
            Self::AvgPool(_) => "avg_pool",
            Self::GlobalAvgPool(_) => "global_avg_pool",
            Self::Flatten(_) => "flatten",
            Self::Linear(_) => "linear",
            Self::Softmax(_) => "softmax",
            Self::ClassGradient(_) => "class_gradient",
            Self::ReluGradient(_) => "relu_gradient",
            Self::AvgPoolGradient(_) => "avg_pool_gradient",
            Self::Dilate(_) => "dilate",
            Self::ChannelDot(_) => "channel_dot",
        }
    }

    /// The same op with every parameter replaced.
    #[must_use]
    pub(crate) fn map_params(self, mut map: impl FnMut(ParamId) -> ParamId) -> Self {
        match self {
            Self::Conv2d(conv) => Self::Conv2d(Conv2d {
                weight: map(conv.weight),
                bias: conv.bias.map(map),
                ..conv
            }),
            Self::BatchNorm(norm) => Self::BatchNorm(BatchNorm {
                gamma: map(norm.gamma),
                beta: map(norm.beta),
                mean: map(norm.mean),
                variance: map(norm.variance),
                ..norm
            }),
            Self::Linear(Linear { weight, bias }) => Self::Linear(Linear {
                weight: map(weight),
                bias: bias.map(map),
            }),
            Self::ClassGradient(ClassGradient { weight, class }) => {
                Self::ClassGradient(ClassGradient {
                    weight: map(weight),
                    class: map(class),
                })
            }
            Self::Relu(Relu)
            | Self::Add(_)
            | Self::MaxPool(_)
            | Self::AvgPool(_)
            | Self::GlobalAvgPool(GlobalAvgPool)
            | Self::Flatten(_)
            | Self::Softmax(Softmax)
            | Self::ReluGradient(ReluGradient)
            | Self::AvgPoolGradient(_)
            | Self::Dilate(_)
            | Self::ChannelDot(_) => self,
        }
    }
}
