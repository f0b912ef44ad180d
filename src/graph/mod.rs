//! What to compute: a list of named operations on named activations, with their parameters.
//!
//! Shapes are inferred and checked when a node is added, so a [`Graph`] that exists is consistent,
//! and since a node can only read values that exist already, it has no cycles. Nothing here knows
//! about GPUs. [`crate::network`] builds graphs, [`crate::passes`] rewrites them,
//! [`crate::plan`] turns them into dispatches and `reference` runs them on the CPU.

mod id;
mod ops;
mod window;

use std::collections::HashMap;
use std::fmt;

use crate::error::Error;
use crate::tensor::{Shape, Tensor};
use ops::Check;

pub use id::{ParamId, ValueId};
pub use ops::{
    Add, AvgPool, AvgPoolGradient, BatchNorm, ChannelDot, ClassGradient, Conv2d, Dilate, Flatten,
    FlattenOrder, GlobalAvgPool, Linear, MaxPool, Op, PadValue, Relu, ReluGradient, Softmax,
    Statistics,
};
pub use window::{Padding, Window};

pub(crate) use ops::{Backward, Placement};

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

    /// A parameter with its name.
    ///
    /// # Panics
    /// When the parameter is of another, larger graph.
    pub fn named_param(&self, id: ParamId) -> &Param {
        &self.params[id.0]
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
            let known = if related.is_empty() {
                String::new()
            } else {
                format!("there are {}", related.join(", "))
            };
            Error::UnknownValue {
                name: name.to_owned(),
                known,
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
        let per_scalar = node.op.as_operation().macs_per_scalar(self);
        self.shape(node.output).len() as u64 * per_scalar as u64
    }

    /// How many numbers of a node were found by training; statistics of batches are not counted.
    pub fn trained(&self, node: &Node) -> usize {
        let params = node.op.as_operation().trained().into_iter().flatten();
        params.map(|param| self.tensor(param).len()).sum()
    }

    /// The window that a node slides over its input, if that has a size of its own.
    pub fn window(&self, node: &Node) -> Option<Window> {
        node.op.as_operation().window(self)
    }

    /// The shape of what an operation computes from these values.
    fn infer_shape(&self, name: &str, op: &Op, inputs: &[ValueId]) -> Result<Shape, Error> {
        let op = op.as_operation();
        if !op.arity().allows(inputs.len()) {
            return Err(Error::InputCount {
                node: name.to_owned(),
                expected: op.arity().as_str(),
                got: inputs.len(),
            });
        }
        if let Some(index) = inputs.iter().position(|v| v.0 >= self.values.len()) {
            return Err(Error::UnknownInput {
                node: name.to_owned(),
                index,
            });
        }
        let shapes: Vec<Shape> = inputs.iter().map(|&value| self.shape(value)).collect();
        let check = Check {
            graph: self,
            node: name,
        };
        op.shape(&check, &shapes)
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
