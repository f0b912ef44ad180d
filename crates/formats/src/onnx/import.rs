//! Walks the nodes of a file in order and adds what they mean to a graph.
//!
//! What ONNX calls a value is here an activation in the graph, seen in one of three forms, or a
//! constant. Operators that only change the view (`Identity`, `Squeeze`, `Transpose` …) add no node.

use std::collections::{HashMap, HashSet};

use super::operators;
use super::order::Links;
use super::proto::{Declared, Graph as File, Node};
use super::tensor::{Constant, FLOAT, FLOAT16, type_name};
use super::wire::{Damaged, Message};
use super::{USUAL_SIZE, name, operator, unreadable};
use resnet_wgpu::Error;
use resnet_wgpu::graph::ValueId;
use resnet_wgpu::internals::graph::{PadValue, Padding};
use resnet_wgpu::internals::network::{Draft, Operation, Parameter};
use resnet_wgpu::network::{Confidence, ModelOptions};
use resnet_wgpu::tensor::{Shape, Tensor};

/// How ONNX sees an activation of the graph, which is always NCHW.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// Four sizes: images, channels, rows, columns.
    Nchw,
    /// Four sizes: images, rows, columns, channels.
    Nhwc,
    /// Two sizes: images, channels. Rows and columns are 1.
    Vector,
}

/// What was asked for and is left to whoever reads the value.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Pending {
    Nothing,
    /// Padding, which becomes part of a convolution or pooling.
    Pad(Padding, PadValue),
    /// A softmax, which may only come last.
    Softmax,
}

/// An activation.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Activation {
    pub(super) id: ValueId,
    pub(super) form: Form,
    pub(super) pending: Pending,
}

#[derive(Clone, Debug)]
pub(super) enum Value {
    Activation(Activation),
    Constant(Constant),
}

/// The result.
pub(super) struct Imported<'a> {
    pub(super) draft: Draft,
    /// Scores, before the softmax if the file has one.
    pub(super) logits: ValueId,
    /// Name of the final softmax, if the file has one.
    pub(super) softmax: Option<&'a str>,
    pub(super) channels_last: bool,
    /// Who says the size of the image, and how surely.
    pub(super) size_from: (&'static str, Confidence),
}

/// A network under construction.
pub(super) struct Import<'a> {
    pub(super) file: &'a File<'a>,
    pub(super) links: Links<'a>,
    pub(super) draft: Draft,
    pub(super) opset: i64,
    /// Told of the bytes that were read for the last time.
    release: &'a dyn Fn(&[u8]),
    /// Images in a batch of the file; `None` for any number.
    pub(super) file_batch: Option<usize>,
    output: &'a str,
    initializers: HashMap<&'a str, Message<'a>>,
    values: HashMap<&'a str, Value>,
    /// Matrices that the file has as `[in, out]`, by the name of the value.
    transposed: HashMap<&'a str, Tensor>,
    /// Additions that became the bias of the node before them.
    absorbed: HashSet<usize>,
}

/// Reads the graph of a file.
pub(super) fn run<'a>(
    file: &'a File<'a>,
    opset: i64,
    options: &ModelOptions,
    release: &'a dyn Fn(&[u8]),
) -> Result<Imported<'a>, Error> {
    let mut initializers = HashMap::new();
    for &(name, tensor) in &file.initializers {
        if initializers.insert(name, tensor).is_some() {
            return Err(unreadable(format!("there are two tensors '{name}'")));
        }
    }
    // Old files list their weights among the inputs.
    let inputs = file.inputs.iter();
    let inputs: Vec<_> = inputs
        .filter(|input| !initializers.contains_key(input.name))
        .collect();
    let ([input], [output]) = (&inputs[..], &file.outputs[..]) else {
        let names: Vec<&str> = inputs.iter().take(4).map(|input| input.name).collect();
        return Err(unreadable(format!(
            "a network has one image as input and one output, this one has {} inputs ({}) and {} \
             outputs ({})",
            inputs.len(),
            names.join(", "),
            file.outputs.len(),
            file.outputs[..file.outputs.len().min(4)].join(", ")
        )));
    };
    let links = Links::new(file, |name| {
        name == input.name || initializers.contains_key(name)
    })?;
    let order = links.order(file, output)?;
    let image = Image::resolve(file, &links, input, options)?;

    let name = if input.name.is_empty() {
        "node"
    } else {
        input.name
    };
    let draft = Draft::new(name, image.size)?;
    let id = draft.input();
    let form = if image.channels_last {
        Form::Nhwc
    } else {
        Form::Nchw
    };
    let activation = Activation {
        id,
        form,
        pending: Pending::Nothing,
    };
    let mut import = Import {
        file,
        links,
        draft,
        opset,
        release,
        file_batch: image.file_batch,
        output,
        initializers,
        values: HashMap::from([(input.name, Value::Activation(activation))]),
        transposed: HashMap::new(),
        absorbed: HashSet::new(),
    };
    for index in order {
        if !import.absorbed.contains(&index) {
            let node = &file.nodes[index];
            let value = operators::run(&mut import, &Site { node })?;
            let first = node.outputs.first().copied().unwrap_or_default();
            import.values.insert(first, value);
        }
    }

    let Some(&Value::Activation(result)) = import.values.get(output) else {
        return Err(unreadable(format!(
            "the output '{output}' depends on no image"
        )));
    };
    let shape = import.draft.shape(result.id);
    if [shape.h, shape.w] != [1, 1] || matches!(result.pending, Pending::Pad(..)) || result.id == id
    {
        return Err(unreadable(format!(
            "the output '{output}' of shape {shape} is no list of scores for each image"
        )));
    }
    let softmax = (result.pending == Pending::Softmax).then_some(*output);
    Ok(Imported {
        draft: import.draft,
        logits: result.id,
        softmax,
        channels_last: image.channels_last,
        size_from: image.size_from,
    })
}

/// What is known about the input.
struct Image {
    size: [usize; 2],
    channels_last: bool,
    file_batch: Option<usize>,
    size_from: (&'static str, Confidence),
}

impl Image {
    fn resolve<'a>(
        file: &File<'a>,
        links: &Links<'a>,
        input: &Declared<'a>,
        options: &ModelOptions,
    ) -> Result<Self, Error> {
        let refuse = |reason: String| unreadable(format!("the input '{}' {reason}", input.name));
        let element = input.element.unwrap_or(FLOAT);
        if ![FLOAT, FLOAT16].contains(&element) {
            let element = type_name(element);
            return Err(refuse(format!(
                "is of type {element}, not float32 or float16"
            )));
        }
        let dims = match input.dims.as_deref() {
            None => [None; 4],
            Some(&[n, a, b, c]) => [n, a, b, c],
            Some(dims) => return Err(refuse(format!("has {} sizes, an image has 4", dims.len()))),
        };
        let readers = links.consumers(input.name);
        let to_nchw = |&index: &usize| {
            let node = &file.nodes[index];
            node.op == "Transpose" && matches!(node.ints("perm"), Ok(Some(p)) if p == [0, 3, 1, 2])
        };
        let channels_last = (dims[3] == Some(3) && dims[1] != Some(3))
            || (!readers.is_empty() && readers.iter().all(to_nchw));
        let [n, c, h, w] = if channels_last {
            [dims[0], dims[3], dims[1], dims[2]]
        } else {
            dims
        };
        if let Some(channels) = c.filter(|&channels| channels != 3) {
            return Err(refuse(format!(
                "has {channels} channels, only RGB images are supported"
            )));
        }
        let side = |size: Option<i64>| size.map(|size| usize::try_from(size).unwrap_or(usize::MAX));
        let (size, size_from) = match (options.size, side(h), side(w)) {
            (Some(size), ..) => (size, ("asked for", Confidence::Certain)),
            (None, None, None) => (
                [USUAL_SIZE; 2],
                ("the file takes any size", Confidence::Assumed),
            ),
            (None, h, w) => (
                [h.or(w).unwrap_or(USUAL_SIZE), w.or(h).unwrap_or(USUAL_SIZE)],
                ("the file", Confidence::Certain),
            ),
        };
        // Checked before the shape is computed with.
        resnet_wgpu::picture::Preprocess::TORCHVISION
            .with_size(size)
            .check()?;
        Ok(Self {
            size,
            channels_last,
            file_batch: side(n),
            size_from,
        })
    }
}

/// A node that is being imported.
#[derive(Clone, Copy)]
pub(super) struct Site<'a> {
    pub(super) node: &'a Node<'a>,
}

impl Site<'_> {
    pub(super) fn refuse(&self, reason: impl Into<String>) -> Error {
        operator(self.node, reason.into())
    }

    /// The error of an attribute.
    pub(super) fn damaged(&self, Damaged(reason): Damaged) -> Error {
        self.refuse(reason)
    }

    /// An integer attribute.
    pub(super) fn int(&self, name: &str, default: i64) -> Result<i64, Error> {
        let value = self.node.int(name).map_err(|error| self.damaged(error))?;
        Ok(value.unwrap_or(default))
    }

    /// A float attribute.
    pub(super) fn float(&self, name: &str, default: f32) -> Result<f32, Error> {
        let value = self.node.float(name).map_err(|error| self.damaged(error))?;
        Ok(value.unwrap_or(default))
    }

    /// A list of integers.
    pub(super) fn ints(&self, name: &str) -> Result<Option<Vec<i64>>, Error> {
        self.node.ints(name).map_err(|error| self.damaged(error))
    }

    /// Refuses an integer attribute that is not the only one supported.
    pub(super) fn only(&self, name: &str, default: i64, supported: i64) -> Result<(), Error> {
        let value = self.int(name, default)?;
        if value == supported {
            return Ok(());
        }
        Err(self.refuse(format!(
            "{name} = {value} is not supported, only {supported}"
        )))
    }
}

impl<'a> Import<'a> {
    /// An input that must be there.
    pub(super) fn required(&mut self, site: &Site<'a>, index: usize) -> Result<Value, Error> {
        self.optional(site, index)?
            .ok_or_else(|| site.refuse(format!("input {index} is missing")))
    }

    /// An input that may be left out.
    pub(super) fn optional(
        &mut self,
        site: &Site<'a>,
        index: usize,
    ) -> Result<Option<Value>, Error> {
        let Some(name) = site.node.input(index) else {
            return Ok(None);
        };
        if let Some(value) = self.values.get(name) {
            return Ok(Some(value.clone()));
        }
        let Some(&tensor) = self.initializers.get(name) else {
            return Err(site.refuse(format!(
                "it reads '{name}', a result that is only made in training or is not supported"
            )));
        };
        let constant = Constant::decode(tensor)
            .map_err(|reason| site.refuse(format!("tensor '{name}': {reason}")))?;
        (self.release)(tensor.0);
        let value = Value::Constant(constant);
        self.values.insert(name, value.clone());
        Ok(Some(value))
    }

    /// An activation, whatever is pending.
    pub(super) fn activation(
        &mut self,
        site: &Site<'a>,
        index: usize,
    ) -> Result<Activation, Error> {
        match self.required(site, index)? {
            Value::Activation(activation) => Ok(activation),
            Value::Constant(_) => Err(site.refuse(format!(
                "input {index} is a constant where an activation is expected"
            ))),
        }
    }

    /// An activation with nothing pending.
    pub(super) fn plain(&mut self, site: &Site<'a>, index: usize) -> Result<Activation, Error> {
        let activation = self.activation(site, index)?;
        match activation.pending {
            Pending::Nothing => Ok(activation),
            Pending::Pad(..) => Err(site.refuse(
                "its input is padded, which is only supported before a convolution or pooling",
            )),
            Pending::Softmax => {
                Err(site.refuse("its input is a Softmax, which is only supported at the end"))
            }
        }
    }

    /// An activation that ONNX sees as NCHW, with the padding that is pending.
    pub(super) fn image(
        &mut self,
        site: &Site<'a>,
        index: usize,
    ) -> Result<(Activation, Option<(Padding, PadValue)>), Error> {
        let activation = self.activation(site, index)?;
        match activation.form {
            Form::Nchw => {}
            Form::Nhwc => {
                return Err(site.refuse(
                    "its input is channels-last; a Transpose is only supported right at the input \
                     and before a Flatten",
                ));
            }
            Form::Vector => return Err(site.refuse("its input is a vector, not an image")),
        }
        match activation.pending {
            Pending::Pad(padding, value) => Ok((activation, Some((padding, value)))),
            _ => Ok((self.plain(site, index)?, None)),
        }
    }

    /// Sizes of an activation as ONNX sees it, without pending padding.
    pub(super) fn dims(&self, activation: Activation) -> Vec<usize> {
        let Shape { n, c, h, w } = self.draft.shape(activation.id);
        match activation.form {
            Form::Nchw => vec![n, c, h, w],
            Form::Nhwc => vec![n, h, w, c],
            Form::Vector => vec![n, c],
        }
    }

    /// A constant list of integers: an input, or the attribute of older versions.
    pub(super) fn int_list(
        &mut self,
        site: &Site<'a>,
        attribute: &str,
        index: usize,
    ) -> Result<Option<Vec<i64>>, Error> {
        if site.node.has(attribute) {
            return site.ints(attribute);
        }
        match self.optional(site, index)? {
            None => Ok(None),
            Some(Value::Constant(Constant::Ints { ints, .. })) => Ok(Some(ints)),
            Some(_) => Err(site.refuse(format!("{attribute} must be constant integers"))),
        }
    }

    /// A constant tensor of floats.
    pub(super) fn floats(
        &mut self,
        site: &Site<'a>,
        index: usize,
        role: Parameter,
    ) -> Result<Tensor, Error> {
        match self.required(site, index)? {
            Value::Constant(Constant::Floats(tensor)) => Ok(tensor),
            _ => Err(site.refuse(format!("its {} must be a constant of floats", role.name()))),
        }
    }

    /// A free name for what a node computes.
    pub(super) fn node_name(&mut self, site: &Site<'a>) -> String {
        self.draft.free(name(site.node))
    }

    /// Makes a parameter of the layer `layer` known, and returns its name.
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

    /// Adds an operation of one input that keeps the form of it.
    pub(super) fn unary(
        &mut self,
        site: &Site<'a>,
        operation: Operation,
        x: Activation,
    ) -> Result<Value, Error> {
        let name = self.node_name(site);
        let id = self.draft.add(&name, operation, &[x.id])?;
        Ok(Value::Activation(Activation {
            id,
            pending: Pending::Nothing,
            ..x
        }))
    }

    /// A matrix that the file has as `[in, out]`, as `[out, in]`.
    pub(super) fn transpose(
        &mut self,
        site: &Site<'a>,
        index: usize,
        matrix: &Tensor,
    ) -> Result<Tensor, Error> {
        let &[in_c, out_c] = matrix.dims() else {
            return Err(site.refuse(format!("the weight has sizes {:?}, not two", matrix.dims())));
        };
        let name = site.node.input(index).unwrap_or_default();
        let transposed = self.transposed.entry(name).or_insert_with(|| {
            let at = |i: usize| matrix.data()[i % in_c * out_c + i / in_c];
            Tensor::from_fn(&[out_c, in_c], at)
        });
        Ok(transposed.clone())
    }

    /// The bias that the only reader of a node adds to its result, `[channels]`; that reader is then
    /// done. An image has its channels third from the end, a vector last.
    pub(super) fn absorb_bias(
        &mut self,
        site: &Site<'a>,
        channels: usize,
        form: Form,
    ) -> Result<Option<Tensor>, Error> {
        let Some(&result) = site.node.outputs.first() else {
            return Ok(None);
        };
        let &[reader] = self.links.consumers(result) else {
            return Ok(None);
        };
        let file = self.file;
        let add = Site {
            node: &file.nodes[reader],
        };
        if add.node.op != "Add" || add.node.inputs.len() != 2 || result == self.output {
            return Ok(None);
        }
        let other = usize::from(add.node.inputs[0] == result);
        let name = add.node.inputs[other];
        let known = self.initializers.contains_key(name) || self.values.contains_key(name);
        if !known {
            return Ok(None);
        }
        let Some(Value::Constant(Constant::Floats(bias))) = self.optional(&add, other)? else {
            return Ok(None);
        };
        let dims = bias.dims();
        let fits = match form {
            Form::Vector => dims == [channels] || dims == [1, channels],
            _ => dims == [channels, 1, 1] || dims == [1, channels, 1, 1],
        };
        if !fits {
            return Err(add.refuse(format!(
                "a constant of sizes {dims:?} is no bias for {channels} channels"
            )));
        }
        self.absorbed.insert(reader);
        Tensor::new(&[channels], bias.data()).map(Some)
    }

    /// Makes `value` also what an absorbed addition computes.
    pub(super) fn alias_reader(&mut self, site: &Site<'a>, value: &Value) {
        let file = self.file;
        let result = site.node.outputs.first().copied().unwrap_or_default();
        for &reader in self.links.consumers(result) {
            if self.absorbed.contains(&reader)
                && let Some(&output) = file.nodes[reader].outputs.first()
            {
                self.values.insert(output, value.clone());
            }
        }
    }
}
