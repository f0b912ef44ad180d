//! What a graph lists: its operations and their parameters.

use super::{Op, ValueId};
use crate::tensor::Tensor;

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

/// One parameter of a graph.
#[derive(Clone, Debug, PartialEq)]
pub struct Param {
    /// Name, such as `layer1.0.conv1.weight`.
    pub name: String,
    /// The numbers.
    pub tensor: Tensor,
}
