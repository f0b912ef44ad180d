//! The contents of a graph: its operations and their parameters.

use super::{Op, ValueId};
use crate::tensor::Tensor;

/// One operation of a graph.
#[derive(Clone, Debug, PartialEq)]
pub struct Node {
    /// The name of the layer, such as `layer1.0.conv1`; also the prefix of its weights.
    pub name: String,
    /// The operation it computes.
    pub op: Op,
    /// The values it reads.
    pub inputs: Vec<ValueId>,
    /// The value it writes.
    pub output: ValueId,
}

/// One parameter of a graph.
#[derive(Clone, Debug, PartialEq)]
pub struct Param {
    /// The name, such as `layer1.0.conv1.weight`.
    pub name: String,
    /// The data.
    pub tensor: Tensor,
}
