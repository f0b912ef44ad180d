//! Visits the nodes of a file in order and adds what they compute to a graph.
//!
//! An ONNX value becomes either an activation in the graph, seen through a [view](super::view), or
//! a constant. What does not depend on the image is computed first.

use std::collections::{HashMap, HashSet};

use super::external::Files;
use super::image::Image;
use super::operators;
use super::order::Links;
use super::proto::{Graph as File, Name, Node};
pub(super) use super::site::Site;
use super::tensor::{Constant, Numbers, narrow};
use super::unreadable;
use super::view::{Activation, Axis, Border, Channels, NCHW, Pending};
use super::wire::Message;
use resnet_wgpu::Error;
use resnet_wgpu::graph::ValueId;
use resnet_wgpu::internals::graph::Padding;
use resnet_wgpu::internals::network::{Draft, Operation, PaddingRule, Parameter};
use resnet_wgpu::network::Activation as Function;
use resnet_wgpu::tensor::Tensor;

#[derive(Clone, Debug)]
pub(super) enum Value {
    Activation(Activation),
    Constant(Constant),
}

impl From<Activation> for Value {
    fn from(activation: Activation) -> Self {
        Self::Activation(activation)
    }
}

/// A network during import.
pub(super) struct Import<'a> {
    pub(super) file: &'a File<'a>,
    pub(super) links: Links<'a>,
    pub(super) draft: Draft,
    pub(super) opset: i64,
    /// The channels of the image; one stands for three that are equal.
    channels: usize,
    /// Images in a batch of the file; `None` for any number.
    pub(super) batch: Option<usize>,
    /// What the file does to the channels of the image before any layer.
    pub(super) front: Option<Channels>,
    pub(super) output: &'a str,
    pub(super) values: HashMap<Name, Value>,
    /// Nodes whose arithmetic was merged into the node before them.
    pub(super) absorbed: HashSet<usize>,
    /// The output of the last node absorbed by the current one.
    pub(super) alias: Option<Name>,
    pub(super) files: Files,
    initializers: HashMap<&'a str, Message<'a>>,
    /// How many more elements of constants may be computed: a file that keeps doubling a list must
    /// not fill the memory.
    budget: usize,
}

/// The budget of every file, in elements; the file's own elements are added to it.
const BUDGET: usize = 1 << 20;

impl<'a> Import<'a> {
    /// The state before the first node; the image is the value named `input`.
    pub(super) fn new(
        file: &'a File<'a>,
        (links, initializers): (Links<'a>, HashMap<&'a str, Message<'a>>),
        (image, input, output): (&Image, &str, &'a str),
        (opset, files): (i64, Files),
    ) -> Result<Self, Error> {
        let channels = if image.channels == 1 {
            3
        } else {
            image.channels
        };
        let name = if input.is_empty() { "node" } else { input };
        let draft = Draft::new(name, channels, image.size)?;
        let mut activation = Activation::new(draft.input(), image.axes.clone());
        activation.pending = if image.integers {
            Pending::Integers
        } else {
            of_pixels(image.channels)
        };
        Ok(Self {
            channels: image.channels,
            file,
            links,
            draft,
            opset,
            batch: image.batch,
            front: None,
            output,
            values: HashMap::from([(Name::from(input), activation.into())]),
            absorbed: HashSet::new(),
            alias: None,
            files,
            initializers,
            budget: BUDGET,
        })
    }

    /// What is pending on the image once its pixels are floats.
    pub(super) fn of_pixels(&self) -> Pending {
        of_pixels(self.channels)
    }

    /// Runs nodes in an order in which they can: first those that need no image.
    pub(super) fn run(&mut self, order: &[usize], input: &str) -> Result<(), Error> {
        let file = self.file;
        let mut of_image = HashSet::from([input]);
        let mut rest = Vec::new();
        for &index in order {
            let node = &file.nodes[index];
            if node.reads().any(|name| of_image.contains(&**name)) {
                of_image.extend(node.outputs.iter().map(|name| &**name));
                rest.push(index);
            } else {
                self.step(node)?;
            }
        }
        for index in rest {
            if !self.absorbed.contains(&index) {
                self.step(&file.nodes[index])?;
            }
        }
        Ok(())
    }

    /// The class scores or features, and the final function that turns scores into probabilities.
    pub(super) fn result(&mut self) -> Result<(ValueId, Option<Function>), Error> {
        let output = self.output;
        let refuse = |reason: String| Err(unreadable(format!("the output '{output}' {reason}")));
        let node = Node::reading(output);
        let site = Site { node: &node };
        if !matches!(self.values.get(output), Some(Value::Activation(_))) {
            return refuse("depends on no image".to_owned());
        }
        let mut result = self.activation(&site, 0)?;
        let function = match result.pending {
            Pending::Last(function) => Some(function),
            Pending::Sigmoid => Some(Function::Sigmoid),
            _ => {
                result = self.plain(&site, 0)?;
                None
            }
        };
        let shape = self.draft.shape(result.id);
        if result.id == self.draft.input() {
            return refuse("is the image itself".to_owned());
        }
        if [shape.h, shape.w] != [1, 1] {
            return refuse(format!(
                "is an image of {}x{} pixels for each of {} channels, neither scores nor \
                 features; export the network with its pooling",
                shape.h, shape.w, shape.c
            ));
        }
        Ok((result.id, function))
    }

    /// Runs one node.
    pub(super) fn step(&mut self, node: &Node<'_>) -> Result<(), Error> {
        self.alias = None;
        let value = operators::run(self, &Site { node })?;
        let first = node.outputs.first().cloned();
        if let Some(name) = self.alias.take().or(first) {
            self.values.insert(name, value);
        }
        Ok(())
    }

    /// Defines an initializer of a graph inside a node.
    pub(super) fn define(
        &mut self,
        site: &Site<'_>,
        name: &str,
        tensor: Message<'_>,
    ) -> Result<(), Error> {
        let constant = self.decode(site, name, tensor)?;
        self.values.insert(name.into(), Value::Constant(constant));
        Ok(())
    }

    pub(super) fn decode(
        &mut self,
        site: &Site<'_>,
        name: &str,
        tensor: Message<'_>,
    ) -> Result<Constant, Error> {
        let constant = Constant::decode(tensor, &mut self.files)
            .map_err(|reason| site.refuse(format!("tensor '{name}': {reason}")))?;
        self.budget = self.budget.saturating_add(4 * constant.len());
        Ok(constant)
    }

    /// Charges computed elements of constants to the budget.
    pub(super) fn spend(&mut self, site: &Site<'_>, numbers: usize) -> Result<(), Error> {
        match self.budget.checked_sub(numbers) {
            Some(left) => {
                self.budget = left;
                Ok(())
            }
            None => Err(site.refuse("the constants that it computes are too large")),
        }
    }

    /// Whether a value has been computed or is an initializer.
    pub(super) fn is_known(&self, name: &str) -> bool {
        self.values.contains_key(name) || self.initializers.contains_key(name)
    }

    /// An input that must be present.
    pub(super) fn required(&mut self, site: &Site<'_>, index: usize) -> Result<Value, Error> {
        self.optional(site, index)?
            .ok_or_else(|| site.refuse(format!("input {index} is missing")))
    }

    /// An optional input; `None` if absent.
    pub(super) fn optional(
        &mut self,
        site: &Site<'_>,
        index: usize,
    ) -> Result<Option<Value>, Error> {
        let Some(name) = site.node.input(index) else {
            return Ok(None);
        };
        if let Some(value) = self.values.get(name) {
            return Ok(Some(value.clone()));
        }
        let Some(&tensor) = self.initializers.get(&**name) else {
            return Err(site.refuse(format!(
                "it reads '{name}', a result that is only made in training or is not supported"
            )));
        };
        let value = Value::Constant(self.decode(site, name, tensor)?);
        self.values.insert(name.clone(), value.clone());
        Ok(Some(value))
    }

    /// An input that must be a constant if it is present.
    pub(super) fn constant(
        &mut self,
        site: &Site<'_>,
        index: usize,
    ) -> Result<Option<Constant>, Error> {
        match self.optional(site, index)? {
            None => Ok(None),
            Some(Value::Constant(constant)) => Ok(Some(constant)),
            Some(Value::Activation(_)) => {
                Err(site.refuse(format!("input {index} must be a constant")))
            }
        }
    }

    /// An input that must be an activation, in any pending state.
    pub(super) fn activation(
        &mut self,
        site: &Site<'_>,
        index: usize,
    ) -> Result<Activation, Error> {
        match self.required(site, index)? {
            Value::Activation(activation) => Ok(activation),
            Value::Constant(_) => Err(site.refuse(format!(
                "input {index} is a constant where an activation is expected"
            ))),
        }
    }

    /// An input that must be an activation; anything pending is resolved or refused.
    pub(super) fn plain(&mut self, site: &Site<'_>, index: usize) -> Result<Activation, Error> {
        let activation = self.activation(site, index)?;
        let refuse = |reason: &str| Err(site.refuse(reason));
        match &activation.pending {
            Pending::Nothing => Ok(activation),
            Pending::Channels(channels) => {
                let name = site.node.input(index).cloned().unwrap_or_else(|| "".into());
                let id = self.settle(&name, activation.id, channels)?;
                let settled = Activation::new(id, activation.axes);
                self.values.insert(name, settled.clone().into());
                Ok(settled)
            }
            Pending::Integers => refuse("its input is an image of integers; a Cast is missing"),
            Pending::Pad(..) => refuse(
                "its input is padded, which is only supported before a convolution or pooling",
            ),
            Pending::Groups(_) => {
                refuse("its input has groups of channels, which only a normalisation may read")
            }
            Pending::Mean(_) => {
                refuse("its input is a mean over rows or columns only, which is not supported")
            }
            Pending::Sigmoid => refuse(
                "its input is a Sigmoid, which is only supported at the end and as the gate of a \
                 squeeze-and-excitation",
            ),
            Pending::Last(_) => {
                refuse("its input is a softmax, which is only supported at the end")
            }
        }
    }

    /// Resolves pending arithmetic on channels: as a batch normalisation, or as a 1×1 convolution
    /// if channels are reordered.
    fn settle(&mut self, name: &str, id: ValueId, channels: &Channels) -> Result<ValueId, Error> {
        let count = self.draft.shape(id).c;
        let (len, in_order) = (channels.len(), channels.keeps_order(count));
        if id == self.draft.input() && self.front.is_none() {
            self.front = Some(channels.clone());
        }
        if *channels == Channels::unchanged(count) {
            return Ok(id);
        }
        let name = self.draft.free(name);
        let floats = |numbers: &[f64]| Tensor::from_fn(&[len], |c| narrow(numbers[c]));
        let (scale, shift) = (floats(&channels.scale), floats(&channels.shift));
        let operation = if in_order {
            Operation::BatchNorm {
                gamma: self.param(&name, Parameter::Gamma, scale)?,
                beta: self.param(&name, Parameter::Beta, shift)?,
                mean: self.param(&name, Parameter::Mean, Tensor::from_fn(&[len], |_| 0.0))?,
                variance: self.param(
                    &name,
                    Parameter::Variance,
                    Tensor::from_fn(&[len], |_| 1.0),
                )?,
                epsilon: 0.0,
                of_batch: false,
            }
        } else {
            let weight = Tensor::from_fn(&[len, count, 1, 1], |i| {
                let own = channels.source[i / count] == i % count;
                if own { scale.data()[i / count] } else { 0.0 }
            });
            Operation::Conv2d {
                weight: self.param(&name, Parameter::Weight, weight)?,
                bias: Some(self.param(&name, Parameter::Bias, shift)?),
                stride: [1, 1],
                padding: PaddingRule::all(0),
                dilation: [1; 2],
                groups: 1,
            }
        };
        self.draft.add(&name, operation, &[id])
    }

    /// An input that must be an activation in NCHW, together with its pending padding.
    pub(super) fn image(
        &mut self,
        site: &Site<'_>,
        index: usize,
    ) -> Result<(Activation, Option<(Padding, Border)>), Error> {
        let activation = self.activation(site, index)?;
        let padding = match activation.pending {
            Pending::Pad(padding, border) => Some((padding, border)),
            _ => None,
        };
        let x = match padding {
            Some(_) => activation,
            None => self.plain(site, index)?,
        };
        if !x.fits(&NCHW, self.draft.shape(x.id)) {
            return Err(site.refuse(format!(
                "its input of shape {:?} is not an image with its channels first",
                self.dims(&x)
            )));
        }
        Ok((Activation::new(x.id, NCHW), padding))
    }

    /// The shape of an activation in ONNX, without pending padding.
    pub(super) fn dims(&self, x: &Activation) -> Vec<usize> {
        let shape = self.draft.shape(x.id);
        let size = |&axis: &Axis| match axis {
            Axis::Image => self.batch.unwrap_or(1),
            other => x.size(other, shape),
        };
        x.axes.iter().map(size).collect()
    }

    /// A constant list of integers: an input, or the attribute of older opsets. A list that depends
    /// on the size of the image is only accepted by `Reshape` and `Expand`.
    pub(super) fn int_list(
        &mut self,
        site: &Site<'_>,
        attribute: &str,
        index: usize,
    ) -> Result<Option<Vec<i64>>, Error> {
        if site.node.has(attribute) {
            return site.ints(attribute);
        }
        let constant = match self.optional(site, index)? {
            None => return Ok(None),
            Some(Value::Constant(constant)) => constant,
            Some(Value::Activation(_)) => {
                return Err(site.refuse(format!("{attribute} must be constant integers")));
            }
        };
        if constant.sized && !["Reshape", "Expand"].contains(&site.node.op) {
            return Err(site.refuse(format!(
                "{attribute} depends on the size of the image, which is not supported"
            )));
        }
        match constant.numbers {
            Numbers::Ints { ints, .. } => Ok(Some(ints)),
            Numbers::Floats(_) => {
                Err(site.refuse(format!("{attribute} must be constant integers")))
            }
        }
    }

    /// An input that must be a constant tensor of floats.
    pub(super) fn floats(
        &mut self,
        site: &Site<'_>,
        index: usize,
        role: Parameter,
    ) -> Result<Tensor, Error> {
        match self.required(site, index)? {
            Value::Constant(Constant {
                numbers: Numbers::Floats(tensor),
                sized: false,
            }) => Ok(tensor),
            _ => Err(site.refuse(format!("its {} must be a constant of floats", role.name()))),
        }
    }

    /// An unused name for the result of a node.
    pub(super) fn node_name(&mut self, site: &Site<'_>) -> String {
        self.draft.free(site.node.shown())
    }

    /// Registers a parameter of the layer `layer`, and returns its name.
    pub(super) fn param(
        &mut self,
        layer: &str,
        role: Parameter,
        tensor: Tensor,
    ) -> Result<String, Error> {
        let name = format!("{layer}.{}", role.name());
        if let Some(index) = tensor.data().iter().position(|x| !x.is_finite()) {
            return Err(Error::WeightNotFinite {
                name,
                index,
                value: tensor.data()[index],
            });
        }
        self.draft.tensor(&name, tensor)?;
        Ok(name)
    }

    /// Adds an operation with one input, whose result has the same axes.
    pub(super) fn unary(
        &mut self,
        site: &Site<'_>,
        operation: Operation,
        x: Activation,
    ) -> Result<Value, Error> {
        let name = self.node_name(site);
        let id = self.draft.add(&name, operation, &[x.id])?;
        Ok(Activation::new(id, x.axes).into())
    }
}

/// Of a grey image the first of three equal channels is taken.
fn of_pixels(channels: usize) -> Pending {
    if channels == 1 {
        Pending::Channels(Channels::unchanged(1))
    } else {
        Pending::Nothing
    }
}
