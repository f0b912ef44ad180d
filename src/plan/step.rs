//! What a plan lists: its dispatches, and the parameters that a host may change.

use super::{AllocationId, Candidate};
use crate::graph::Role;
use crate::kernels::Launch;
use crate::tensor::Shape;

/// One dispatch.
#[derive(Clone, Debug)]
pub struct Step {
    /// The layer, such as `layer1.0.conv2`.
    pub node: String,
    /// The value that it computes, such as `layer1.0.relu2`.
    pub value: String,
    /// Shape of that value.
    pub shape: Shape,
    /// What was chosen for the layer, if it is a convolution.
    pub choice: Option<Candidate>,
    /// The kernel with its constants and grid.
    pub launch: Launch,
    /// What is bound, in the order of the kernel's bindings.
    pub allocations: Vec<AllocationId>,
    /// Multiply-accumulate operations.
    pub macs: u64,
    /// Bytes of inputs, parameters and output, each counted once.
    pub bytes: u64,
}

/// A parameter that may be written between runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Writable {
    /// What it decides: the class of a class activation map.
    pub role: Role,
    /// The buffer that it begins: one scalar of single precision.
    pub allocation: AllocationId,
    /// How many numbers there are to choose from.
    pub choices: usize,
}
