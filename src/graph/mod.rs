//! Defines what to compute: a list of named operations on named activations, with their parameters.
//!
//! Shapes are inferred and checked when a node is added, so every [`Graph`] is consistent; and
//! since a node can only read values that already exist, it has no cycles. Nothing here knows about
//! GPUs. [`crate::network`] builds graphs, [`crate::passes`] rewrites them, [`crate::plan`] turns
//! them into dispatches and `reference` runs them on the CPU.

pub(crate) mod id;
pub(crate) mod node;
pub(crate) mod ops;
mod role;
pub(crate) mod window;

use std::collections::{BTreeMap, HashMap};
use std::fmt;

use crate::error::Error;
use crate::tensor::{Shape, Tensor};
use id::Identity;
use ops::{Check, Operation};

pub(crate) use id::ParamId;
pub use id::ValueId;
pub(crate) use node::{Node, Param};
pub(crate) use ops::{
    Add, AttentionPool, AvgPool, Backward, BatchNorm, BlurPool, ChannelConv, ChannelDot,
    ClassGradient, Conv2d, Flatten, FlattenOrder, Gate, GlobalAvgPool, GroupNorm, Interpolation,
    Linear, MaxPool, Op, PadValue, Placement, Relu, ReluGradient, Resize, Sigmoid, Softmax,
    Statistics, dilated,
};
#[cfg(feature = "cpu")]
pub(crate) use ops::{AvgPoolGradient, Dilate};
pub use role::Role;
pub(crate) use window::{Padding, Window};

/// An activation of a graph.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Value {
    /// The name of the node that computes it, or of the last node fused into that one.
    pub name: String,
    /// Its shape.
    pub shape: Shape,
}

/// A network: operations in an order in which they can run.
///
/// Ids belong to the graph that issued them: every method returns an error if it is given an id of
/// another graph. A clone shares the ids that its original had, and issues its own from then on.
#[derive(Clone, Debug, Default)]
pub struct Graph {
    identity: Identity,
    nodes: Vec<Node>,
    values: Vec<Value>,
    /// The id of each value, issued by this graph or by one that it was cloned from.
    value_ids: Vec<ValueId>,
    params: Vec<Param>,
    param_ids: Vec<ParamId>,
    inputs: Vec<ValueId>,
    outputs: Vec<ValueId>,
    roles: BTreeMap<Role, ValueId>,
    by_name: HashMap<String, ValueId>,
}

impl Graph {
    /// Does what [`Self::add`] does, for a node whose result has the name of a node that was fused
    /// into it.
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

    /// Makes a value an output of the graph: passes must not remove it, and its buffer is not
    /// reused.
    ///
    /// # Errors
    /// [`Error::ForeignId`] if the value belongs to another graph.
    pub fn mark_output(&mut self, value: ValueId) -> Result<(), Error> {
        self.get(value)?;
        if !self.outputs.contains(&value) {
            self.outputs.push(value);
        }
        Ok(())
    }

    /// The value that has a role.
    pub fn role(&self, role: Role) -> Option<ValueId> {
        self.roles.get(&role).copied()
    }

    /// The name and the shape of the value that has a role.
    ///
    /// # Errors
    /// [`Error::NoRole`] if no value has it.
    pub fn value_of(&self, role: Role) -> Result<&Value, Error> {
        let value = self.role(role).ok_or_else(|| Error::NoRole {
            role: role.to_string(),
            hint: "the network does not compute them".to_owned(),
        })?;
        self.get(value)
    }

    /// All values: inputs and results of nodes.
    #[doc(hidden)]
    pub fn values(&self) -> impl ExactSizeIterator<Item = (ValueId, &Value)> {
        self.value_ids.iter().copied().zip(&self.values)
    }

    /// Whether a value belongs to this graph.
    pub(crate) fn has_value(&self, id: ValueId) -> bool {
        self.value_ids.get(id.0) == Some(&id)
    }

    /// Whether a node belongs to this graph.
    pub(crate) fn has_node(&self, node: &Node) -> bool {
        self.nodes.contains(node)
    }

    /// The operation of a node of this graph.
    fn operation<'a>(&self, node: &'a Node) -> Result<&'a dyn Operation, Error> {
        if self.has_node(node) {
            return Ok(node.op.as_operation());
        }
        Err(Error::ForeignId { what: "node" })
    }

    /// A value that must belong to this graph.
    pub(crate) fn value(&self, id: ValueId) -> &Value {
        debug_assert!(self.has_value(id), "a value of another graph");
        &self.values[id.0]
    }

    /// The shape of a value that must belong to this graph.
    pub(crate) fn shape(&self, id: ValueId) -> Shape {
        self.value(id).shape
    }

    /// The data of a parameter that must belong to this graph.
    pub(crate) fn tensor(&self, id: ParamId) -> &Tensor {
        debug_assert!(self.get_param(id).is_ok(), "a parameter of another graph");
        &self.params[id.0].tensor
    }

    /// Total size of all values in bytes.
    #[cfg(feature = "cpu")]
    pub(crate) fn bytes(&self) -> u64 {
        let values = self.values.iter();
        values
            .map(|value| value.shape.packed_len() as u64 * 4)
            .sum()
    }

    /// The input in words, such as `a batch of 2 images of 224x224`.
    #[cfg(feature = "cpu")]
    pub(crate) fn batch_in_words(&self) -> String {
        let shape = self.inputs.first().map(|&input| self.shape(input));
        shape.map_or_else(String::new, Shape::batch_in_words)
    }

    /// The value with this name.
    ///
    /// # Errors
    /// [`Error::UnknownValue`], with names that resemble the requested one.
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

    /// Makes all batch normalisations use the same statistics, and returns how many there are.
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

    /// The number of nodes that read each value, plus one if it is an output of the graph.
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

    /// The shape of an operation's output for these inputs.
    fn infer_shape(&self, name: &str, op: &Op, inputs: &[ValueId]) -> Result<Shape, Error> {
        let op = op.as_operation();
        let arity = op.summary().arity;
        if !arity.allows(inputs.len()) {
            return Err(Error::InputCount {
                node: name.to_owned(),
                expected: arity.as_str(),
                got: inputs.len(),
            });
        }
        if let Some(index) = inputs.iter().position(|&v| !self.has_value(v)) {
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
        let id = ValueId(self.values.len(), self.identity.origin());
        self.values.push(Value {
            name: name.to_owned(),
            shape,
        });
        self.value_ids.push(id);
        self.by_name.insert(name.to_owned(), id);
        Ok(id)
    }
}

#[doc(hidden)]
impl Graph {
    /// Creates an empty graph.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds an activation that the caller provides.
    ///
    /// # Errors
    /// If the name is taken, or if a dimension of the shape is zero or too large.
    pub fn input(&mut self, name: &str, shape: Shape) -> Result<ValueId, Error> {
        let id = self.push_value(name, name, shape)?;
        self.inputs.push(id);
        Ok(id)
    }

    /// Adds a parameter.
    pub fn param(&mut self, name: impl Into<String>, tensor: Tensor) -> ParamId {
        let id = ParamId(self.params.len(), self.identity.origin());
        self.params.push(Param {
            name: name.into(),
            tensor,
        });
        self.param_ids.push(id);
        id
    }

    /// Copies an operation of another graph, along with its parameters.
    ///
    /// # Errors
    /// [`Error::ForeignId`] if the parameters do not belong to the other graph.
    pub fn adopt(&mut self, from: &Self, op: &Op) -> Result<Op, Error> {
        for param in op.params() {
            from.get_param(param)?;
        }
        Ok(op.map_params(|param| {
            let Param { name, tensor } = &from.params[param.0];
            self.param(name.clone(), tensor.clone())
        }))
    }

    /// Adds an operation after checking its inputs and parameters, and returns its result.
    ///
    /// # Errors
    /// The [graph section](Error) of the errors: each names the node, what it expects and what it
    /// got.
    pub fn add(&mut self, name: &str, op: Op, inputs: &[ValueId]) -> Result<ValueId, Error> {
        self.add_fused(name, name, op, inputs)
    }

    /// Assigns a role to a value, taking it away from its previous holder. The role stays with the
    /// value through passes and plans, but does not keep the value from being fused away; only
    /// being an output does.
    ///
    /// # Errors
    /// [`Error::ForeignId`] if the value belongs to another graph.
    pub fn set_role(&mut self, role: Role, value: ValueId) -> Result<(), Error> {
        self.get(value)?;
        self.roles.insert(role, value);
        Ok(())
    }

    /// All roles and the values that have them.
    pub fn roles(&self) -> impl ExactSizeIterator<Item = (Role, ValueId)> {
        self.roles.iter().map(|(&role, &value)| (role, value))
    }

    /// The operations, in an order in which they can run.
    pub fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    /// The parameters, in the order in which they were added.
    pub fn params(&self) -> &[Param] {
        &self.params
    }

    /// The values that the caller provides.
    pub fn inputs(&self) -> &[ValueId] {
        &self.inputs
    }

    /// The values that the caller requested.
    pub fn outputs(&self) -> &[ValueId] {
        &self.outputs
    }

    /// The name and the shape of a value.
    ///
    /// # Errors
    /// [`Error::ForeignId`] if the value belongs to another graph.
    pub fn get(&self, id: ValueId) -> Result<&Value, Error> {
        if self.has_value(id) {
            return Ok(self.value(id));
        }
        Err(Error::ForeignId { what: "value" })
    }

    /// The name and the data of a parameter.
    ///
    /// # Errors
    /// [`Error::ForeignId`] if the parameter belongs to another graph.
    pub fn get_param(&self, id: ParamId) -> Result<&Param, Error> {
        if self.param_ids.get(id.0) == Some(&id) {
            return Ok(&self.params[id.0]);
        }
        Err(Error::ForeignId { what: "parameter" })
    }

    /// The number of multiply-accumulate operations in a node; as is customary, only convolutions
    /// and linear layers count.
    ///
    /// # Errors
    /// [`Error::ForeignId`] if the node belongs to another graph.
    pub fn macs(&self, node: &Node) -> Result<u64, Error> {
        let weight = self.operation(node)?.summary().multiplies;
        let row = |weight| self.tensor(weight).dims()[1..].iter().product::<usize>();
        Ok(self.shape(node.output).len() as u64 * weight.map_or(0, row) as u64)
    }

    /// The number of trained scalars in a node; running statistics do not count.
    ///
    /// # Errors
    /// [`Error::ForeignId`] if the node belongs to another graph.
    pub fn trained(&self, node: &Node) -> Result<usize, Error> {
        let params = self.operation(node)?.summary().trained;
        Ok(params
            .into_iter()
            .flatten()
            .map(|param| self.tensor(param).len())
            .sum())
    }

    /// The window of a node, unless it always covers the whole input.
    ///
    /// # Errors
    /// [`Error::ForeignId`] if the node belongs to another graph.
    pub fn window(&self, node: &Node) -> Result<Option<Window>, Error> {
        Ok(self.operation(node)?.window(self))
    }

    /// The settings of a node in words, such as `3×3, stride 2, padding 1`; empty if it has none.
    ///
    /// # Errors
    /// [`Error::ForeignId`] if the node belongs to another graph.
    pub fn settings(&self, node: &Node) -> Result<String, Error> {
        Ok(self.operation(node)?.settings(self))
    }
}

impl fmt::Display for Graph {
    /// One line per node: its name, op, output shape and inputs.
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
