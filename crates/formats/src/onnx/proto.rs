//! The messages of an ONNX file, as far as ResNets need them. Texts and tensors are borrowed from
//! the bytes of the file; attributes and tensors are decoded on access.
//!
//! Field numbers are those of `onnx.proto`, listed at <https://onnx.ai/onnx/api/classes.html>.

use std::rc::Rc;

use super::wire::{Damaged, Message};

/// Maximum number of nodes, initializers and values each: a hundred times those of a ResNet-152.
const MAX_COUNT: usize = 1 << 16;

/// Maximum nesting of graphs in attributes.
const MAX_DEPTH: u8 = 4;

/// `ModelProto`.
#[derive(Debug)]
pub(super) struct Model<'a> {
    pub(super) producer: &'a str,
    /// Opset version of the standard operators.
    pub(super) opset: Option<i64>,
    pub(super) graph: Graph<'a>,
    pub(super) functions: Vec<Function<'a>>,
}

/// `FunctionProto`: the nodes that replace a call of the function.
#[derive(Debug, Default)]
pub(super) struct Function<'a> {
    pub(super) name: &'a str,
    pub(super) domain: &'a str,
    pub(super) overload: &'a str,
    pub(super) inputs: Vec<&'a str>,
    pub(super) outputs: Vec<&'a str>,
    pub(super) nodes: Vec<Node<'a>>,
    /// Values of attributes that a call may leave out.
    pub(super) defaults: Vec<(&'a str, Message<'a>)>,
    /// Opset version of the standard operators.
    pub(super) opset: Option<i64>,
}

/// `GraphProto`.
#[derive(Debug, Default)]
pub(super) struct Graph<'a> {
    pub(super) name: &'a str,
    pub(super) nodes: Vec<Node<'a>>,
    /// Names and encoded `TensorProto`s.
    pub(super) initializers: Vec<(&'a str, Message<'a>)>,
    pub(super) inputs: Vec<Declared<'a>>,
    pub(super) outputs: Vec<Declared<'a>>,
}

/// The name of a value or node; those inside functions are made up while expanding them.
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
    /// Values of the enclosing graph that graphs in its attributes may read.
    pub(super) captured: Vec<Name>,
}

/// `ValueInfoProto`: a value and its declared type.
#[derive(Debug, Default)]
pub(super) struct Declared<'a> {
    pub(super) name: &'a str,
    /// Element type: a number of `TensorProto.DataType`, as in [`super::tensor`].
    pub(super) element: Option<i64>,
    /// The declared shape, where `None` is a dimension known only at run time.
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

/// `OperatorSetIdProto`: records the opset version of the standard operators.
fn opset(import: Message<'_>, version: &mut Option<i64>) -> Result<(), Damaged> {
    if is_standard(text(import, 1)?) {
        *version = import.last(2)?.map(|version| version.int()).transpose()?;
    }
    Ok(())
}

/// A string field; empty if absent.
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

/// Whether a domain holds the standard operators.
pub(super) fn is_standard(domain: &str) -> bool {
    matches!(domain, "" | "ai.onnx")
}

impl<'a> Graph<'a> {
    /// Decodes a graph; `depth` is the number of graphs around it.
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

    /// A node that only reads the value `name`; it is in no file.
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

    /// What to call it in messages: its name, or its first output.
    pub(super) fn shown(&self) -> &str {
        if self.name.is_empty() {
            self.outputs.first().map_or("", |name| name)
        } else {
            &self.name
        }
    }

    /// An input; `None` if absent or if its name is empty, which means omitted.
    pub(super) fn input(&self, index: usize) -> Option<&Name> {
        let name = self.inputs.get(index);
        name.filter(|name| !name.is_empty())
    }

    /// All values that it may read, including captured ones.
    pub(super) fn reads(&self) -> impl Iterator<Item = &Name> {
        let all = self.inputs.iter().chain(&self.captured);
        all.filter(|name| !name.is_empty())
    }

    pub(super) fn has(&self, attribute: &str) -> bool {
        self.attributes.iter().any(|(name, _)| *name == attribute)
    }

    /// An attribute, whose type must be `kind`, a number of `AttributeProto.AttributeType`.
    fn attribute(&self, name: &str, kind: i64) -> Result<Option<Message<'a>>, Damaged> {
        let found = self.attributes.iter().find(|(other, _)| *other == name);
        let Some(&(_, message)) = found else {
            return Ok(None);
        };
        // Early files do not state the type.
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
        // A value of zero may be omitted.
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
        // Only `TypeProto.tensor_type`; sequences, maps and optional values are not tensors.
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
                // Some exporters write 0 or −1 for a dimension of any size.
                push(&mut dims, size.filter(|&size| size > 0))?;
            }
        }
        value.dims = Some(dims);
        Ok(value)
    }
}
