//! What to compute: a list of named operations on named activations, with their parameters.
//!
//! Shapes are inferred and checked when a node is added, so a [`Graph`] that exists is consistent,
//! and since a node can only read values that exist already, it has no cycles. Nothing here knows
//! about GPUs. [`crate::models`] builds graphs, [`crate::passes`] rewrites them,
//! [`crate::plan`] turns them into dispatches and `reference` runs them on the CPU.

use std::collections::HashMap;
use std::fmt;

use crate::error::Error;
use crate::tensor::{Shape, Tensor};

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
    fn output_size(&self, h: usize, w: usize) -> Result<[usize; 2], String> {
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

/// One operation of a graph.
#[derive(Clone, Debug, PartialEq)]
pub struct Node {
    /// Name of the layer, such as `layer1.0.conv1`; also the prefix of its weights.
    pub name: String,
    /// What it computes.
    pub op: Op,
    /// What it reads.
    pub inputs: Vec<ValueId>,
    /// What it writes.
    pub output: ValueId,
}

/// One activation of a graph.
#[derive(Clone, Debug, PartialEq)]
pub struct Value {
    /// Name: that of the node that computes it, or of the last node fused into that one.
    pub name: String,
    /// Shape.
    pub shape: Shape,
}

/// One parameter of a graph.
#[derive(Clone, Debug, PartialEq)]
pub struct Param {
    /// Name, such as `layer1.0.conv1.weight`.
    pub name: String,
    /// The numbers.
    pub tensor: Tensor,
}

/// A network: operations in an order in which they can run.
///
/// ```
/// use resnet_wgpu::graph::{Conv2d, Graph, Op};
/// use resnet_wgpu::tensor::{Shape, Tensor};
///
/// let mut graph = Graph::new();
/// let image = graph.input("image", Shape::new(1, 3, 8, 6))?;
/// let weight = graph.param("conv.weight", Tensor::from_fn(&[4, 3, 3, 3], |_| 0.1));
/// let y = graph.add("conv", Op::Conv2d(Conv2d::new(weight).padding(1)), &[image])?;
/// graph.mark_output(y)?;
/// assert_eq!(graph.shape(y), Shape::new(1, 4, 8, 6));
/// # Ok::<(), resnet_wgpu::Error>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct Graph {
    nodes: Vec<Node>,
    values: Vec<Value>,
    params: Vec<Param>,
    inputs: Vec<ValueId>,
    outputs: Vec<ValueId>,
    by_name: HashMap<String, ValueId>,
}

impl Graph {
    /// A graph without any node.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds an activation that the caller provides.
    ///
    /// # Errors
    /// When the name is taken, or a side of the shape is zero or too large.
    pub fn input(&mut self, name: &str, shape: Shape) -> Result<ValueId, Error> {
        let id = self.push_value(name, name, shape)?;
        self.inputs.push(id);
        Ok(id)
    }

    /// Adds a parameter.
    pub fn param(&mut self, name: impl Into<String>, tensor: Tensor) -> ParamId {
        self.params.push(Param {
            name: name.into(),
            tensor,
        });
        ParamId(self.params.len() - 1)
    }

    /// Adds an operation after checking its inputs and parameters, and returns its result.
    ///
    /// # Errors
    /// The [graph section](Error) of the errors: each names the node, what it expects and what it got.
    pub fn add(&mut self, name: &str, op: Op, inputs: &[ValueId]) -> Result<ValueId, Error> {
        self.add_fused(name, name, op, inputs)
    }

    /// [`Self::add`] for a node whose result has the name of a node that was fused into it.
    pub(crate) fn add_fused(
        &mut self,
        name: &str,
        value_name: &str,
        op: Op,
        inputs: &[ValueId],
    ) -> Result<ValueId, Error> {
        let shape = self.infer_shape(name, &op, inputs)?;
        let output = self.push_value(name, value_name, shape)?;
        self.nodes.push(Node {
            name: name.to_owned(),
            op,
            inputs: inputs.to_vec(),
            output,
        });
        Ok(output)
    }

    /// Makes a value a result of the graph: no pass removes it and no buffer reuse overwrites it.
    ///
    /// # Errors
    /// [`Error::UnknownInput`] when the value is not of this graph.
    pub fn mark_output(&mut self, value: ValueId) -> Result<(), Error> {
        if value.0 >= self.values.len() {
            return Err(Error::UnknownInput {
                node: "output".to_owned(),
                index: self.outputs.len(),
            });
        }
        if !self.outputs.contains(&value) {
            self.outputs.push(value);
        }
        Ok(())
    }

    /// The operations, in an order in which they can run.
    pub fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    /// The parameters, in the order in which they were added.
    pub fn params(&self) -> &[Param] {
        &self.params
    }

    /// Values that the caller provides.
    pub fn inputs(&self) -> &[ValueId] {
        &self.inputs
    }

    /// Values that the caller asked for.
    pub fn outputs(&self) -> &[ValueId] {
        &self.outputs
    }

    /// All values: inputs and results of nodes.
    pub fn values(&self) -> impl ExactSizeIterator<Item = (ValueId, &Value)> {
        self.values.iter().enumerate().map(|(i, v)| (ValueId(i), v))
    }

    /// One value.
    ///
    /// # Panics
    /// When the value is of another, larger graph.
    pub fn value(&self, id: ValueId) -> &Value {
        &self.values[id.0]
    }

    /// The shape of a value.
    ///
    /// # Panics
    /// When the value is of another, larger graph.
    pub fn shape(&self, id: ValueId) -> Shape {
        self.values[id.0].shape
    }

    /// The numbers of a parameter.
    ///
    /// # Panics
    /// When the parameter is of another, larger graph.
    pub fn tensor(&self, id: ParamId) -> &Tensor {
        &self.params[id.0].tensor
    }

    /// The value of a name.
    ///
    /// # Errors
    /// [`Error::UnknownValue`], with names that are close to the one asked for.
    pub fn find(&self, name: &str) -> Result<ValueId, Error> {
        self.by_name.get(name).copied().ok_or_else(|| {
            let related: Vec<&str> = self
                .values
                .iter()
                .map(|v| v.name.as_str())
                .filter(|v| v.starts_with(name) || name.starts_with(v))
                .take(8)
                .collect();
            let hint = if related.is_empty() {
                "`resnet inspect` lists the names".to_owned()
            } else {
                format!("there are {}", related.join(", "))
            };
            Error::UnknownValue {
                name: name.to_owned(),
                hint,
            }
        })
    }

    /// Makes all batch normalisations use the same statistics, and says how many there are.
    pub(crate) fn set_statistics(&mut self, statistics: Statistics) -> usize {
        let mut count = 0;
        for node in &mut self.nodes {
            if let Op::BatchNorm(norm) = &mut node.op {
                norm.statistics = statistics;
                count += 1;
            }
        }
        count
    }

    /// How many nodes read each value, plus one if it is an output of the graph.
    pub(crate) fn use_counts(&self) -> Vec<usize> {
        let mut uses = vec![0; self.values.len()];
        for value in self
            .nodes
            .iter()
            .flat_map(|n| &n.inputs)
            .chain(&self.outputs)
        {
            uses[value.0] += 1;
        }
        uses
    }

    /// Multiply-accumulate operations of a node: convolution and linear only, as the field counts.
    pub fn macs(&self, node: &Node) -> u64 {
        let out = self.shape(node.output);
        let per_output = match node.op {
            Op::Conv2d(Conv2d { weight, .. }) | Op::Linear { weight, .. } => {
                self.tensor(weight).dims()[1..].iter().product()
            }
            _ => 0,
        };
        out.len() as u64 * per_output as u64
    }

    fn push_value(&mut self, node: &str, name: &str, shape: Shape) -> Result<ValueId, Error> {
        if shape.is_empty() || shape.checked_packed_bytes().is_none() {
            return Err(Error::Geometry {
                node: node.to_owned(),
                reason: format!("a shape of {shape} is empty or too large"),
            });
        }
        if self.by_name.contains_key(name) {
            return Err(Error::DuplicateName {
                node: name.to_owned(),
            });
        }
        let id = ValueId(self.values.len());
        self.values.push(Value {
            name: name.to_owned(),
            shape,
        });
        self.by_name.insert(name.to_owned(), id);
        Ok(id)
    }

    fn infer_shape(&self, name: &str, op: &Op, inputs: &[ValueId]) -> Result<Shape, Error> {
        let (expected, fits) = match op {
            Op::Conv2d(_) => ("1 or 2", matches!(inputs.len(), 1 | 2)),
            Op::Add { .. } | Op::ReluGradient | Op::ChannelDot { .. } => ("2", inputs.len() == 2),
            _ => ("1", inputs.len() == 1),
        };
        if !fits {
            return Err(Error::InputCount {
                node: name.to_owned(),
                expected,
                got: inputs.len(),
            });
        }
        if let Some(index) = inputs.iter().position(|v| v.0 >= self.values.len()) {
            return Err(Error::UnknownInput {
                node: name.to_owned(),
                index,
            });
        }
        let check = Check { graph: self, name };
        let x = self.shape(inputs[0]);
        match op {
            Op::Conv2d(conv) => {
                let out = check.conv2d(conv, x)?;
                if let Some(&residual) = inputs.get(1) {
                    check.same_shape(out, self.shape(residual))?;
                }
                Ok(out)
            }
            Op::BatchNorm(norm) => check.batch_norm(norm, x),
            Op::Relu => Ok(x),
            Op::Add { .. } => check.same_shape(x, self.shape(inputs[1])),
            Op::MaxPool { window, .. } | Op::AvgPool { window, .. } => check.pool(window, x),
            Op::GlobalAvgPool => Ok(Shape::new(x.n, x.c, 1, 1)),
            Op::Flatten { .. } => Ok(Shape::new(x.n, x.c * x.h * x.w, 1, 1)),
            Op::Linear { weight, bias } => check.linear(*weight, *bias, x),
            Op::Softmax => check.same_shape(Shape::new(x.n, x.c, 1, 1), x),
            Op::ClassGradient { weight, class } => check.class_gradient(*weight, *class, x),
            Op::ReluGradient => check.same_shape(x, self.shape(inputs[1])),
            Op::AvgPoolGradient { window, size } => check.avg_pool_gradient(window, *size, x),
            Op::Dilate { stride, size } => check.dilate(*stride, *size, x),
            Op::ChannelDot { .. } => {
                let Shape { n, h, w, .. } = check.same_shape(x, self.shape(inputs[1]))?;
                Ok(Shape::new(n, 1, h, w))
            }
        }
    }
}

/// Shape rules of one node that is about to be added.
struct Check<'a> {
    graph: &'a Graph,
    name: &'a str,
}

impl Check<'_> {
    fn geometry(&self, reason: String) -> Error {
        Error::Geometry {
            node: self.name.to_owned(),
            reason,
        }
    }

    fn same_shape(&self, expected: Shape, got: Shape) -> Result<Shape, Error> {
        if expected == got {
            return Ok(got);
        }
        Err(Error::InputShape {
            node: self.name.to_owned(),
            expected,
            got,
        })
    }

    fn dims(&self, param: ParamId) -> Result<&[usize], Error> {
        self.graph
            .params
            .get(param.0)
            .map(|p| p.tensor.dims())
            .ok_or_else(|| self.geometry("a parameter does not belong to this graph".to_owned()))
    }

    fn param(&self, role: &'static str, param: ParamId, expected: &[usize]) -> Result<(), Error> {
        let got = self.dims(param)?;
        if got == expected {
            return Ok(());
        }
        Err(Error::ParameterShape {
            node: self.name.to_owned(),
            parameter: role,
            expected: expected.to_vec(),
            got: got.to_vec(),
        })
    }

    fn conv2d(&self, conv: &Conv2d, x: Shape) -> Result<Shape, Error> {
        let dims = self.dims(conv.weight)?;
        let &[out_c, in_c, kernel_h, kernel_w] = dims else {
            return Err(self.geometry(format!("the weight must be OIHW, got sizes {dims:?}")));
        };
        let groups = conv.groups;
        if groups == 0 || !x.c.is_multiple_of(groups) || !out_c.is_multiple_of(groups) {
            return Err(self.geometry(format!(
                "{groups} groups do not divide {} input and {out_c} output channels",
                x.c
            )));
        }
        let expected = [out_c, x.c / groups, kernel_h, kernel_w];
        if in_c != x.c / groups {
            self.param("weight", conv.weight, &expected)?;
        }
        if let Some(bias) = conv.bias {
            self.param("bias", bias, &[out_c])?;
        }
        let window = Window {
            kernel: [kernel_h, kernel_w],
            stride: conv.stride,
            padding: conv.padding,
        };
        let [h, w] = window.output_size(x.h, x.w).map_err(|r| self.geometry(r))?;
        Ok(Shape::new(x.n, out_c, h, w))
    }

    fn batch_norm(&self, norm: &BatchNorm, x: Shape) -> Result<Shape, Error> {
        self.param("gamma", norm.gamma, &[x.c])?;
        self.param("beta", norm.beta, &[x.c])?;
        self.param("mean", norm.mean, &[x.c])?;
        self.param("variance", norm.variance, &[x.c])?;
        if !(norm.epsilon.is_finite() && norm.epsilon >= 0.0) {
            return Err(self.geometry(format!("epsilon is {}", norm.epsilon)));
        }
        Ok(x)
    }

    fn pool(&self, window: &Window, x: Shape) -> Result<Shape, Error> {
        let [h, w] = window.output_size(x.h, x.w).map_err(|r| self.geometry(r))?;
        let Padding {
            top,
            bottom,
            left,
            right,
        } = window.padding;
        if top.max(bottom) >= window.kernel[0] || left.max(right) >= window.kernel[1] {
            return Err(self.geometry(format!(
                "padding {:?} must be smaller than the window {:?}: a window would see no pixel",
                window.padding, window.kernel
            )));
        }
        Ok(Shape::new(x.n, x.c, h, w))
    }

    fn class_gradient(&self, weight: ParamId, class: ParamId, x: Shape) -> Result<Shape, Error> {
        self.same_shape(Shape::new(x.n, x.c, 1, 1), x)?;
        self.param("class", class, &[1])?;
        let dims = self.dims(weight)?;
        let &[classes, c, h, w] = dims else {
            return Err(self.geometry(format!(
                "the weight must be [class, c, h, w], got sizes {dims:?}"
            )));
        };
        if classes != x.c {
            self.param("weight", weight, &[x.c, c, h, w])?;
        }
        Ok(Shape::new(x.n, c, h, w))
    }

    fn avg_pool_gradient(
        &self,
        window: &Window,
        size: [usize; 2],
        x: Shape,
    ) -> Result<Shape, Error> {
        let out = Shape::new(x.n, x.c, size[0], size[1]);
        let pooled = window
            .output_size(out.h, out.w)
            .map_err(|r| self.geometry(r))?;
        if window.padding != Padding::default() || pooled != [x.h, x.w] {
            return Err(self.geometry(format!(
                "a mean over {window:?} of {size:?} pixels has not {}x{}",
                x.h, x.w
            )));
        }
        Ok(out)
    }

    fn dilate(&self, stride: [usize; 2], size: [usize; 2], x: Shape) -> Result<Shape, Error> {
        let fits = |pixels: usize, stride: usize, size: usize| {
            let end = (pixels - 1).checked_mul(stride);
            stride > 0 && end.is_some_and(|end| end < size)
        };
        if fits(x.h, stride[0], size[0]) && fits(x.w, stride[1], size[1]) {
            return Ok(Shape::new(x.n, x.c, size[0], size[1]));
        }
        Err(self.geometry(format!(
            "{}x{} pixels, {stride:?} apart, do not fit {size:?}",
            x.h, x.w
        )))
    }

    fn linear(&self, weight: ParamId, bias: Option<ParamId>, x: Shape) -> Result<Shape, Error> {
        self.same_shape(Shape::new(x.n, x.c, 1, 1), x)?;
        let dims = self.dims(weight)?;
        let &[out, _] = dims else {
            return Err(self.geometry(format!("the weight must be [out, in], got sizes {dims:?}")));
        };
        self.param("weight", weight, &[out, x.c])?;
        if let Some(bias) = bias {
            self.param("bias", bias, &[out])?;
        }
        Ok(Shape::new(x.n, out, 1, 1))
    }
}

impl fmt::Display for Graph {
    /// One line per node: name, op, output shape and what it reads.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for &input in &self.inputs {
            writeln!(
                f,
                "{:<28} input            {}",
                self.value(input).name,
                self.shape(input)
            )?;
        }
        for node in &self.nodes {
            let inputs: Vec<&str> = node
                .inputs
                .iter()
                .map(|&v| self.value(v).name.as_str())
                .collect();
            writeln!(
                f,
                "{:<28} {:<16} {} <- {}",
                node.name,
                node.op.kind(),
                self.shape(node.output),
                inputs.join(", ")
            )?;
        }
        Ok(())
    }
}
