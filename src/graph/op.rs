//! The operations, with what they are called by and what they are made of.

/// Names one activation of a graph.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ValueId(pub(crate) usize);

/// Names one parameter of a graph.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ParamId(pub(crate) usize);

/// Rows and columns added around an image before a window slides over it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Padding {
    /// Rows above.
    pub top: usize,
    /// Rows below.
    pub bottom: usize,
    /// Columns to the left.
    pub left: usize,
    /// Columns to the right.
    pub right: usize,
}

impl Padding {
    /// The same number on all four sides.
    pub const fn all(padding: usize) -> Self {
        Self {
            top: padding,
            bottom: padding,
            left: padding,
            right: padding,
        }
    }
}

/// A window that slides over an image: its size, step and the padding around the image.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Window {
    /// Rows and columns of the window.
    pub kernel: [usize; 2],
    /// Rows and columns between two positions.
    pub stride: [usize; 2],
    /// Padding around the image.
    pub padding: Padding,
}

impl Window {
    /// A square window without padding.
    pub const fn square(kernel: usize, stride: usize) -> Self {
        Self {
            kernel: [kernel, kernel],
            stride: [stride, stride],
            padding: Padding::all(0),
        }
    }

    /// The same window with the same padding on all four sides.
    #[must_use]
    pub const fn padded(self, padding: usize) -> Self {
        Self {
            padding: Padding::all(padding),
            ..self
        }
    }

    /// Rows and columns of the result for an image of `h` × `w`.
    pub(super) fn output_size(&self, h: usize, w: usize) -> Result<[usize; 2], String> {
        let side = |what, size: usize, before: usize, after: usize, kernel, stride| {
            if kernel == 0 || stride == 0 {
                return Err("kernel and stride must be at least 1".to_owned());
            }
            let padded = size
                .checked_add(before)
                .and_then(|s| s.checked_add(after))
                .ok_or("padding overflows")?;
            if padded < kernel {
                return Err(format!(
                    "the kernel covers {kernel} {what}, the padded input has only {padded}"
                ));
            }
            Ok((padded - kernel) / stride + 1)
        };
        let Padding {
            top,
            bottom,
            left,
            right,
        } = self.padding;
        Ok([
            side("rows", h, top, bottom, self.kernel[0], self.stride[0])?,
            side("columns", w, left, right, self.kernel[1], self.stride[1])?,
        ])
    }
}

/// A convolution; its kernel size is that of its weight.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Conv2d {
    /// Weight, OIHW: `[out, in / groups, kernel rows, kernel columns]`.
    pub weight: ParamId,
    /// Bias, `[out]`.
    pub bias: Option<ParamId>,
    /// Rows and columns between two positions of the kernel.
    pub stride: [usize; 2],
    /// Zeros around the image.
    pub padding: Padding,
    /// Channel groups that do not see each other.
    pub groups: usize,
    /// Clamp the result, after the residual was added, at zero.
    pub relu: bool,
}

impl Conv2d {
    /// A convolution of stride 1, without padding, bias, groups or ReLU.
    pub const fn new(weight: ParamId) -> Self {
        Self {
            weight,
            bias: None,
            stride: [1, 1],
            padding: Padding::all(0),
            groups: 1,
            relu: false,
        }
    }

    /// With a bias.
    #[must_use]
    pub const fn bias(self, bias: Option<ParamId>) -> Self {
        Self { bias, ..self }
    }

    /// With the same stride along rows and columns.
    #[must_use]
    pub const fn stride(self, stride: usize) -> Self {
        Self {
            stride: [stride, stride],
            ..self
        }
    }

    /// With the same padding on all four sides.
    #[must_use]
    pub const fn padding(self, padding: usize) -> Self {
        Self {
            padding: Padding::all(padding),
            ..self
        }
    }

    /// With channel groups.
    #[must_use]
    pub const fn groups(self, groups: usize) -> Self {
        Self { groups, ..self }
    }
}

/// Batch normalisation (Ioffe & Szegedy 2015, arXiv:1502.03167):
/// `y = gamma · (x − mean) / √(variance + epsilon) + beta`, per channel.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct BatchNorm {
    /// Scale, `[channels]`.
    pub gamma: ParamId,
    /// Shift, `[channels]`.
    pub beta: ParamId,
    /// Running mean, `[channels]`.
    pub mean: ParamId,
    /// Running variance, `[channels]`.
    pub variance: ParamId,
    /// Added to the variance.
    pub epsilon: f32,
    /// Which mean and variance are used.
    pub statistics: Statistics,
    /// Clamp the result at zero.
    pub relu: bool,
}

/// Which mean and variance a batch normalisation uses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Statistics {
    /// Those that training collected, which are parameters.
    #[default]
    Running,
    /// Those of the batch at hand, over all its images and pixels, as in training: the mean of the
    /// squared distance from the mean, not corrected for the number. The parameters are not read.
    Batch,
}

/// What a max pool sees outside the image.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PadValue {
    /// Minus infinity: padding never wins (PyTorch, Keras `same`).
    NegInfinity,
    /// Zero, as if the image had been zero-padded before.
    Zero,
}

/// The order in which a flattened vector lists channels, rows and columns.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FlattenOrder {
    /// Channels outermost (PyTorch).
    Chw,
    /// Channels innermost (Keras, channels last).
    Hwc,
}

/// One operation. Inputs are listed by the node; parameters are part of the op.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Op {
    /// Convolution of input 0, plus input 1 (the residual) if there is one.
    Conv2d(Conv2d),
    /// Batch normalisation.
    BatchNorm(BatchNorm),
    /// `max(x, 0)`.
    Relu,
    /// Sum of two activations of the same shape.
    Add {
        /// Clamp the sum at zero.
        relu: bool,
    },
    /// Maximum over a window.
    MaxPool {
        /// The window.
        window: Window,
        /// What lies outside the image.
        pad_value: PadValue,
    },
    /// Mean over a window.
    AvgPool {
        /// The window.
        window: Window,
        /// Whether padding counts as zeros in the mean.
        count_padding: bool,
    },
    /// Mean over all pixels of an image, per channel.
    GlobalAvgPool,
    /// All scalars of an image as channels of one pixel.
    Flatten {
        /// Their order.
        order: FlattenOrder,
    },
    /// `y = W·x + b` on images of one pixel.
    Linear {
        /// Weight, `[out, in]`.
        weight: ParamId,
        /// Bias, `[out]`.
        bias: Option<ParamId>,
    },
    /// `exp(x) / Σ exp(x)` over the channels of images of one pixel.
    Softmax,
    /// The gradient of one logit of input 0 with respect to what the classifier reads.
    ClassGradient {
        /// The classifier's weight, `[class, c, h, w]`.
        weight: ParamId,
        /// The class, `[1]`; below 0 for that of the largest logit.
        class: ParamId,
    },
    /// Input 0 where input 1, an activation of the same shape, is positive, else 0.
    ReluGradient,
    /// The gradient of a mean over a window without padding.
    AvgPoolGradient {
        /// The window.
        window: Window,
        /// Rows and columns of what the mean was of.
        size: [usize; 2],
    },
    /// The pixels so many rows and columns apart, zeros elsewhere.
    Dilate {
        /// Rows and columns from one pixel to the next.
        stride: [usize; 2],
        /// Rows and columns of the result.
        size: [usize; 2],
    },
    /// Sum over the channels of input 0 times input 1, of the same shape.
    ChannelDot {
        /// Only positive scalars of input 0 count.
        positive: bool,
    },
}

impl Op {
    /// The kind of the op in lower case, as kernels and tables call it.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Conv2d(_) => "conv2d",
            Self::BatchNorm(_) => "batch_norm",
            Self::Relu => "relu",
            Self::Add { .. } => "residual_add",
            Self::MaxPool { .. } => "max_pool",
            Self::AvgPool { .. } => "avg_pool",
            Self::GlobalAvgPool => "global_avg_pool",
            Self::Flatten { .. } => "flatten",
            Self::Linear { .. } => "linear",
            Self::Softmax => "softmax",
            Self::ClassGradient { .. } => "class_gradient",
            Self::ReluGradient => "relu_gradient",
            Self::AvgPoolGradient { .. } => "avg_pool_gradient",
            Self::Dilate { .. } => "dilate",
            Self::ChannelDot { .. } => "channel_dot",
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
            Self::Linear { weight, bias } => Self::Linear {
                weight: map(weight),
                bias: bias.map(map),
            },
            Self::ClassGradient { weight, class } => Self::ClassGradient {
                weight: map(weight),
                class: map(class),
            },
            Self::Relu
            | Self::Add { .. }
            | Self::MaxPool { .. }
            | Self::AvgPool { .. }
            | Self::GlobalAvgPool
            | Self::Flatten { .. }
            | Self::Softmax
            | Self::ReluGradient
            | Self::AvgPoolGradient { .. }
            | Self::Dilate { .. }
            | Self::ChannelDot { .. } => self,
        }
    }
}
