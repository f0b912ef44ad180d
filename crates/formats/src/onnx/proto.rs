//! The messages of an ONNX file, as far as a ResNet needs them. Texts and tensors stay in the bytes
//! of the file; attributes and tensors are decoded when they are asked for.
//!
//! Field numbers are those of `onnx.proto`; <https://onnx.ai/onnx/api/classes.html> lists them.

use super::wire::{Damaged, Message};

/// Nodes, initialisers and values are each at most this many: a hundred times those of ResNet-152.
const MAX_COUNT: usize = 1 << 16;

/// `ModelProto`.
#[derive(Debug)]
pub(super) struct Model<'a> {
    pub(super) producer: &'a str,
    /// Version of the standard operators.
    pub(super) opset: Option<i64>,
    pub(super) graph: Graph<'a>,
}

/// `GraphProto`.
#[derive(Debug, Default)]
pub(super) struct Graph<'a> {
    pub(super) name: &'a str,
    pub(super) nodes: Vec<Node<'a>>,
    /// Names and encoded tensors.
    pub(super) initializers: Vec<(&'a str, Message<'a>)>,
    pub(super) inputs: Vec<Declared<'a>>,
    pub(super) outputs: Vec<&'a str>,
}

/// `NodeProto`.
#[derive(Debug, Default)]
pub(super) struct Node<'a> {
    pub(super) name: &'a str,
    pub(super) op: &'a str,
    pub(super) domain: &'a str,
    pub(super) inputs: Vec<&'a str>,
    pub(super) outputs: Vec<&'a str>,
    attributes: Vec<(&'a str, Message<'a>)>,
}

/// `ValueInfoProto`: a value with the type that the file declares.
#[derive(Debug, Default)]
pub(super) struct Declared<'a> {
    pub(super) name: &'a str,
    /// A number of [`super::tensor`].
    pub(super) element: Option<i64>,
    /// `None` for a size that is only known when the network runs.
    pub(super) dims: Option<Vec<Option<i64>>>,
}

impl<'a> Model<'a> {
    pub(super) fn decode(message: Message<'a>) -> Result<Self, Damaged> {
        let mut model = Self {
            producer: "",
            opset: None,
            graph: Graph::default(),
        };
        let mut graphs = 0;
        for field in message.fields() {
            let (number, field) = field?;
            match number {
                2 => model.producer = field.text()?,
                7 => {
                    graphs += 1;
                    model.graph = Graph::decode(field.message()?)?;
                }
                8 => {
                    let import = field.message()?;
                    let domain = import.last(1)?.map_or(Ok(""), |domain| domain.text())?;
                    if is_standard(domain) {
                        model.opset = import.last(2)?.map(|version| version.int()).transpose()?;
                    }
                }
                _ => {}
            }
        }
        if graphs != 1 {
            return Err(Damaged("it must hold exactly one graph"));
        }
        Ok(model)
    }
}

/// Whether a domain is that of the standard operators.
pub(super) fn is_standard(domain: &str) -> bool {
    matches!(domain, "" | "ai.onnx")
}

impl<'a> Graph<'a> {
    fn decode(message: Message<'a>) -> Result<Self, Damaged> {
        let mut graph = Self::default();
        for field in message.fields() {
            let (number, field) = field?;
            match number {
                1 => push(&mut graph.nodes, Node::decode(field.message()?)?)?,
                2 => graph.name = field.text()?,
                5 => {
                    let tensor = field.message()?;
                    let name = tensor.last(8)?.map_or(Ok(""), |name| name.text())?;
                    push(&mut graph.initializers, (name, tensor))?;
                }
                11 => push(&mut graph.inputs, Declared::decode(field.message()?)?)?,
                12 => {
                    let output = field.message()?;
                    let name = output.last(1)?.map_or(Ok(""), |name| name.text())?;
                    push(&mut graph.outputs, name)?;
                }
                15 => return Err(Damaged("sparse initialisers are not supported")),
                _ => {}
            }
        }
        Ok(graph)
    }
}

fn push<T>(list: &mut Vec<T>, item: T) -> Result<(), Damaged> {
    if list.len() == MAX_COUNT {
        return Err(Damaged("it has more nodes or values than any ResNet"));
    }
    list.push(item);
    Ok(())
}

impl<'a> Node<'a> {
    fn decode(message: Message<'a>) -> Result<Self, Damaged> {
        let mut node = Self::default();
        for field in message.fields() {
            let (number, field) = field?;
            match number {
                1 => push(&mut node.inputs, field.text()?)?,
                2 => push(&mut node.outputs, field.text()?)?,
                3 => node.name = field.text()?,
                4 => node.op = field.text()?,
                5 => {
                    let attribute = field.message()?;
                    let name = attribute.last(1)?.map_or(Ok(""), |name| name.text())?;
                    push(&mut node.attributes, (name, attribute))?;
                }
                7 => node.domain = field.text()?,
                _ => {}
            }
        }
        Ok(node)
    }

    /// An input, unless it is left out; an empty name stands for one that is.
    pub(super) fn input(&self, index: usize) -> Option<&'a str> {
        let name = self.inputs.get(index).copied();
        name.filter(|name| !name.is_empty())
    }

    pub(super) fn has(&self, attribute: &str) -> bool {
        self.attributes.iter().any(|(name, _)| *name == attribute)
    }

    /// An attribute whose content must be of `kind`, a number of `AttributeProto.AttributeType`.
    fn attribute(&self, name: &str, kind: i64) -> Result<Option<Message<'a>>, Damaged> {
        let found = self.attributes.iter().find(|(other, _)| *other == name);
        let Some(&(_, message)) = found else {
            return Ok(None);
        };
        // The first files did not state the kind.
        let stated = message.last(20)?.map(|kind| kind.int()).transpose()?;
        if stated.is_some_and(|stated| stated != 0 && stated != kind) {
            return Err(Damaged("an attribute has another type than the operator's"));
        }
        Ok(Some(message))
    }

    pub(super) fn float(&self, name: &str) -> Result<Option<f32>, Damaged> {
        let Some(message) = self.attribute(name, 1)? else {
            return Ok(None);
        };
        // A zero may be left out.
        message
            .last(2)?
            .map_or(Ok(0.0), |value| value.float())
            .map(Some)
    }

    pub(super) fn int(&self, name: &str) -> Result<Option<i64>, Damaged> {
        let Some(message) = self.attribute(name, 2)? else {
            return Ok(None);
        };
        message
            .last(3)?
            .map_or(Ok(0), |value| value.int())
            .map(Some)
    }

    pub(super) fn text(&self, name: &str) -> Result<Option<&'a str>, Damaged> {
        let Some(message) = self.attribute(name, 3)? else {
            return Ok(None);
        };
        message
            .last(4)?
            .map_or(Ok(""), |value| value.text())
            .map(Some)
    }

    pub(super) fn tensor(&self, name: &str) -> Result<Option<Message<'a>>, Damaged> {
        let Some(message) = self.attribute(name, 4)? else {
            return Ok(None);
        };
        message.last(5)?.map(|tensor| tensor.message()).transpose()
    }

    pub(super) fn ints(&self, name: &str) -> Result<Option<Vec<i64>>, Damaged> {
        let Some(message) = self.attribute(name, 7)? else {
            return Ok(None);
        };
        let mut ints = Vec::new();
        for field in message.fields() {
            let (number, field) = field?;
            if number == 8 {
                field.ints(&mut ints)?;
            }
        }
        Ok(Some(ints))
    }
}

impl<'a> Declared<'a> {
    fn decode(message: Message<'a>) -> Result<Self, Damaged> {
        let mut value = Self {
            name: message.last(1)?.map_or(Ok(""), |name| name.text())?,
            ..Self::default()
        };
        // `TypeProto.tensor_type`: sequences, maps and optional values are not tensors.
        let Some(kind) = message.last(2)? else {
            return Ok(value);
        };
        let Some(tensor) = kind.message()?.last(1)? else {
            return Ok(value);
        };
        let tensor = tensor.message()?;
        value.element = tensor.last(1)?.map(|element| element.int()).transpose()?;
        let Some(shape) = tensor.last(2)? else {
            return Ok(value);
        };
        let mut dims = Vec::new();
        for field in shape.message()?.fields() {
            let (number, field) = field?;
            if number == 1 {
                let size = field.message()?.last(1)?;
                let size = size.map(|size| size.int()).transpose()?;
                // Some writers say 0 or −1 where they mean any size.
                push(&mut dims, size.filter(|&size| size > 0))?;
            }
        }
        value.dims = Some(dims);
        Ok(value)
    }
}
