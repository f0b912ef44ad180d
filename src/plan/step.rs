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
    /// The shape of that value.
    pub shape: Shape,
    /// The candidate chosen for the layer, if it is a convolution.
    pub choice: Option<Candidate>,
    /// The kernel with its constants and grid.
    pub launch: Launch,
    /// The bound allocations, in the order of the kernel's bindings.
    pub allocations: Vec<AllocationId>,
    /// Number of multiply-accumulate operations.
    pub macs: u64,
    /// Size of inputs, parameters and output in bytes, each counted once.
    pub bytes: u64,
}

/// A parameter that may be written between runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Writable {
    /// What it determines: the class of a class activation map.
    pub role: Role,
    /// The buffer whose first element it is: a scalar in single precision.
    pub allocation: AllocationId,
    /// The number of choices.
    pub choices: usize,
}
