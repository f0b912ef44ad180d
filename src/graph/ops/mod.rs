//! The operations, one file each.

mod add;
mod attention_pool;
mod avg_pool;
mod avg_pool_gradient;
mod batch_norm;
mod blur_pool;
mod channel_conv;
mod channel_dot;
mod class_gradient;
mod conv2d;
mod dilate;
mod flatten;
mod gate;
mod global_avg_pool;
mod group_norm;
mod linear;
mod max_pool;
mod operation;
mod relu;
mod relu_gradient;
mod resize;
mod sigmoid;
mod softmax;

use super::ParamId;

pub use add::Add;
pub use attention_pool::AttentionPool;
pub use avg_pool::AvgPool;
pub use avg_pool_gradient::AvgPoolGradient;
pub use batch_norm::{BatchNorm, Statistics};
pub use blur_pool::BlurPool;
pub use channel_conv::ChannelConv;
pub use channel_dot::ChannelDot;
pub use class_gradient::ClassGradient;
pub use conv2d::Conv2d;
pub(crate) use conv2d::dilated;
pub use dilate::Dilate;
pub use flatten::{Flatten, FlattenOrder};
pub use gate::Gate;
pub use global_avg_pool::GlobalAvgPool;
pub use group_norm::GroupNorm;
pub use linear::Linear;
pub use max_pool::{MaxPool, PadValue};
pub use relu::Relu;
pub use relu_gradient::ReluGradient;
pub use resize::{Interpolation, Resize};
pub use sigmoid::Sigmoid;
pub use softmax::Softmax;

pub(super) use operation::Check;
pub(crate) use operation::{Backward, Operation, Placement};

/// An operation. Its inputs are listed by the node; its parameters are part of the operation.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Op {
    /// Convolution of input 0, plus input 1 (the residual) if there is one.
    Conv2d(Conv2d),
    /// Batch normalisation.
    BatchNorm(BatchNorm),
    /// Normalisation by the statistics of each group of channels in each image.
    GroupNorm(GroupNorm),
    /// `max(x, 0)`.
    Relu(Relu),
    /// Sum of two activations of the same shape.
    Add(Add),
    /// Maximum over a window.
    MaxPool(MaxPool),
    /// Mean over a window.
    AvgPool(AvgPool),
    /// A 3×3 binomial filter, possibly with a stride.
    BlurPool(BlurPool),
    /// Another number of rows and columns, interpolated.
    Resize(Resize),
    /// Mean over all pixels of an image, per channel.
    GlobalAvgPool(GlobalAvgPool),
    /// Flattens each image into the channels of a single pixel.
    Flatten(Flatten),
    /// `y = W·x + b` on 1×1 images.
    Linear(Linear),
    /// `exp(x) / Σ exp(x)` over the channels of 1×1 images.
    Softmax(Softmax),
    /// `1 / (1 + exp(−x))` of each channel of 1×1 images.
    Sigmoid(Sigmoid),
    /// Convolution along the channels of 1×1 images.
    ChannelConv(ChannelConv),
    /// Each channel times the sigmoid of its gate.
    Gate(Gate),
    /// Sums of pixels, weighed by how well they answer queries.
    AttentionPool(AttentionPool),
    /// The gradient of one logit with respect to the classifier's input.
    ClassGradient(ClassGradient),
    /// The gradient of a ReLU.
    ReluGradient(ReluGradient),
    /// The gradient of an average pool.
    AvgPoolGradient(AvgPoolGradient),
    /// Inserts zeros between pixels.
    Dilate(Dilate),
    /// Dot product over channels.
    ChannelDot(ChannelDot),
}

impl Op {
    /// The operation as a trait object: the only place that lists all operations for this purpose.
    pub(crate) const fn as_operation(&self) -> &dyn Operation {
        match self {
            Self::Conv2d(op) => op,
            Self::BatchNorm(op) => op,
            Self::GroupNorm(op) => op,
            Self::Relu(op) => op,
            Self::Add(op) => op,
            Self::MaxPool(op) => op,
            Self::AvgPool(op) => op,
            Self::BlurPool(op) => op,
            Self::Resize(op) => op,
            Self::GlobalAvgPool(op) => op,
            Self::Flatten(op) => op,
            Self::Linear(op) => op,
            Self::Softmax(op) => op,
            Self::Sigmoid(op) => op,
            Self::ChannelConv(op) => op,
            Self::Gate(op) => op,
            Self::AttentionPool(op) => op,
            Self::ClassGradient(op) => op,
            Self::ReluGradient(op) => op,
            Self::AvgPoolGradient(op) => op,
            Self::Dilate(op) => op,
            Self::ChannelDot(op) => op,
        }
    }

    /// The name of the operation in lower case, as kernels and tables use it.
    pub fn kind(&self) -> &'static str {
        self.as_operation().summary().kind
    }

    /// All its parameters.
    pub(crate) fn params(&self) -> Vec<ParamId> {
        let mut params = Vec::new();
        let _same = self.map_params(|param| {
            params.push(param);
            param
        });
        params
    }

    /// The same operation with every parameter replaced.
    #[must_use]
    pub(crate) fn map_params(&self, mut map: impl FnMut(ParamId) -> ParamId) -> Self {
        let same = self.as_operation().map_params(&mut map);
        same.unwrap_or(*self)
    }
}
