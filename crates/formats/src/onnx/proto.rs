//! The messages of an ONNX file, as far as a ResNet needs them. Texts and tensors stay in the bytes
//! of the file; attributes and tensors are decoded when they are asked for.
//!
//! Field numbers are those of `onnx.proto`; <https://onnx.ai/onnx/api/classes.html> lists them.

use std::rc::Rc;

use super::wire::{Damaged, Message};

/// Nodes, initialisers and values are each at most this many: a hundred times those of ResNet-152.
const MAX_COUNT: usize = 1 << 16;

/// Graphs within attributes of graphs.
const MAX_DEPTH: u8 = 4;

/// `ModelProto`.
#[derive(Debug)]
pub(super) struct Model<'a> {
    pub(super) producer: &'a str,
    /// Version of the standard operators.
    pub(super) opset: Option<i64>,
    pub(super) graph: Graph<'a>,
    pub(super) functions: Vec<Function<'a>>,
}

/// `FunctionProto`: nodes that a node of its name stands for.
#[derive(Debug, Default)]
pub(super) struct Function<'a> {
    pub(super) name: &'a str,
    pub(super) domain: &'a str,
    pub(super) overload: &'a str,
    pub(super) inputs: Vec<&'a str>,
    pub(super) outputs: Vec<&'a str>,
    pub(super) nodes: Vec<Node<'a>>,
    /// What attributes are where the call leaves them out.
    pub(super) defaults: Vec<(&'a str, Message<'a>)>,
    /// Version of the standard operators.
    pub(super) opset: Option<i64>,
}

/// `GraphProto`.
#[derive(Debug, Default)]
pub(super) struct Graph<'a> {
    pub(super) name: &'a str,
    pub(super) nodes: Vec<Node<'a>>,
    /// Names and encoded tensors.
    pub(super) initializers: Vec<(&'a str, Message<'a>)>,
    pub(super) inputs: Vec<Declared<'a>>,
    pub(super) outputs: Vec<Declared<'a>>,
}

/// A name of a value or node. Those within functions are made up, so that they are not of the file.
pub(super) type Name = Rc<str>;

/// `NodeProto`.
#[derive(Clone, Debug)]
pub(super) struct Node<'a> {
    pub(super) name: Name,
    pub(super) op: &'a str,
    pub(super) domain: &'a str,
    pub(super) overload: &'a str,
    pub(super) inputs: Vec<Name>,
    pub(super) outputs: Vec<Name>,
    pub(super) attributes: Vec<(&'a str, Message<'a>)>,
    /// Values of the graph that the graphs among its attributes may read.
    pub(super) captured: Vec<Name>,
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
            functions: Vec::new(),
        };
        let mut graphs = 0;
        for field in message.fields() {
            let (number, field) = field?;
            match number {
                2 => model.producer = field.text()?,
                7 => {
                    graphs += 1;
                    model.graph = Graph::decode(field.message()?, 0)?;
                }
                8 => opset(field.message()?, &mut model.opset)?,
                25 => push(&mut model.functions, Function::decode(field.message()?)?)?,
                _ => {}
            }
        }
        if graphs != 1 {
            return Err(Damaged("it must hold exactly one graph"));
        }
        Ok(model)
    }
}

/// `OperatorSetIdProto`.
fn opset(import: Message<'_>, version: &mut Option<i64>) -> Result<(), Damaged> {
    if is_standard(text(import, 1)?) {
        *version = import.last(2)?.map(|version| version.int()).transpose()?;
    }
    Ok(())
}

/// A text that is empty where it is left out.
fn text(message: Message<'_>, number: u64) -> Result<&str, Damaged> {
    message.last(number)?.map_or(Ok(""), |field| field.text())
}

impl<'a> Function<'a> {
    fn decode(message: Message<'a>) -> Result<Self, Damaged> {
        let mut function = Self::default();
        for field in message.fields() {
            let (number, field) = field?;
            match number {
                1 => function.name = field.text()?,
                4 => push(&mut function.inputs, field.text()?)?,
                5 => push(&mut function.outputs, field.text()?)?,
                7 => push(&mut function.nodes, Node::decode(field.message()?, 0)?)?,
                9 => opset(field.message()?, &mut function.opset)?,
                10 => function.domain = field.text()?,
                11 => {
                    let attribute = field.message()?;
                    push(&mut function.defaults, (text(attribute, 1)?, attribute))?;
                }
                13 => function.overload = field.text()?,
                _ => {}
            }
        }
        Ok(function)
    }
}

/// Whether a domain is that of the standard operators.
pub(super) fn is_standard(domain: &str) -> bool {
    matches!(domain, "" | "ai.onnx")
}

impl<'a> Graph<'a> {
    /// `depth` counts the graphs that it is an attribute in.
    pub(super) fn decode(message: Message<'a>, depth: u8) -> Result<Self, Damaged> {
        let mut graph = Self::default();
        for field in message.fields() {
            let (number, field) = field?;
            match number {
                1 => push(&mut graph.nodes, Node::decode(field.message()?, depth)?)?,
                2 => graph.name = field.text()?,
                5 => {
                    let tensor = field.message()?;
                    push(&mut graph.initializers, (text(tensor, 8)?, tensor))?;
                }
                11 => push(&mut graph.inputs, Declared::decode(field.message()?)?)?,
                12 => push(&mut graph.outputs, Declared::decode(field.message()?)?)?,
                15 => return Err(Damaged("sparse initialisers are not supported")),
                _ => {}
            }
        }
        Ok(graph)
    }
}

pub(super) fn push<T>(list: &mut Vec<T>, item: T) -> Result<(), Damaged> {
    if list.len() == MAX_COUNT {
        return Err(Damaged("it has more nodes or values than any ResNet"));
    }
    list.push(item);
    Ok(())
}

impl<'a> Node<'a> {
    fn decode(message: Message<'a>, depth: u8) -> Result<Self, Damaged> {
        let (mut name, mut inputs, mut outputs) = ("", Vec::new(), Vec::new());
        let (mut attributes, mut captured) = (Vec::new(), Vec::new());
        let (mut op, mut domain, mut overload) = ("", "", "");
        for field in message.fields() {
            let (number, field) = field?;
            match number {
                1 => push(&mut inputs, Name::from(field.text()?))?,
                2 => push(&mut outputs, Name::from(field.text()?))?,
                3 => name = field.text()?,
                4 => op = field.text()?,
                5 => {
                    let attribute = field.message()?;
                    push(&mut attributes, (text(attribute, 1)?, attribute))?;
                    if let Some(graph) = attribute.last(6)? {
                        if depth == MAX_DEPTH {
                            return Err(Damaged("graphs are nested too deeply"));
                        }
                        for node in Graph::decode(graph.message()?, depth + 1)?.nodes {
                            captured.extend(node.inputs.into_iter().chain(node.captured));
                        }
                    }
                }
                7 => domain = field.text()?,
                8 => overload = field.text()?,
                _ => {}
            }
        }
        Ok(Self {
            name: name.into(),
            op,
            domain,
            overload,
            inputs,
            outputs,
            attributes,
            captured,
        })
    }

    /// A node that is in no file and only reads a value.
    pub(super) fn reading(name: &str) -> Self {
        Self {
            name: name.into(),
            op: "",
            domain: "",
            overload: "",
            inputs: vec![name.into()],
            outputs: Vec::new(),
            attributes: Vec::new(),
            captured: Vec::new(),
        }
    }

    /// What it is called: by its name, or by what it computes.
    pub(super) fn shown(&self) -> &str {
        if self.name.is_empty() {
            self.outputs.first().map_or("", |name| name)
        } else {
            &self.name
        }
    }

    /// An input, unless it is left out; an empty name stands for one that is.
    pub(super) fn input(&self, index: usize) -> Option<&Name> {
        let name = self.inputs.get(index);
        name.filter(|name| !name.is_empty())
    }

    /// All values that it may read.
    pub(super) fn reads(&self) -> impl Iterator<Item = &Name> {
        let all = self.inputs.iter().chain(&self.captured);
        all.filter(|name| !name.is_empty())
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

    pub(super) fn graph(&self, name: &str) -> Result<Option<Graph<'a>>, Damaged> {
        let Some(message) = self.attribute(name, 5)? else {
            return Ok(None);
        };
        let graph = message.last(6)?.map(|graph| graph.message()).transpose()?;
        graph.map(|graph| Graph::decode(graph, 0)).transpose()
    }

    pub(super) fn floats(&self, name: &str) -> Result<Option<Vec<f32>>, Damaged> {
        let Some(message) = self.attribute(name, 6)? else {
            return Ok(None);
        };
        let mut floats = Vec::new();
        for field in message.fields() {
            let (number, field) = field?;
            if number == 7 {
                field.floats(&mut floats)?;
            }
        }
        Ok(Some(floats))
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
            name: text(message, 1)?,
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
