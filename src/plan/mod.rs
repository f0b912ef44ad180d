//! Decides how to compute a graph: which kernels to launch, and where their data is.
//!
//! Takes a [`Graph`], usually one that [`crate::passes`] has optimised, and returns a [`Plan`]:
//! plain data without GPU types, printable as a list of dispatches. Defaults or measurements decide
//! which [`Candidate`] computes each convolution, and `memory` which activations share an
//! allocation.
//!
//! The planner arranges dispatches and memory. Only the two back ends, on storage buffers and on
//! textures, know the kernels; each covers every operation, and a plan uses one of them.
//! `gpu::Executor` then turns the plan into pipelines and buffers.

use std::collections::HashSet;
use std::fmt;

use crate::error::Error;
use crate::explain::Sites;
use crate::graph::{Graph, Role};
use crate::tensor::{LANES, Shape};

pub(crate) mod allocation;
pub(crate) mod buffers;
pub(crate) mod candidate;
pub(crate) mod capabilities;
mod key;
mod lower;
pub(crate) mod memory;
mod options;
mod planner;
mod projection;
pub(crate) mod step;
pub(crate) mod textures;
pub(crate) mod units;

pub use crate::kernels::Precision;
pub(crate) use allocation::{Allocation, AllocationId, Content, ParametersKey};
pub use candidate::Choices;
pub(crate) use candidate::{Candidate, ConvShape, candidates};
pub use capabilities::Capabilities;
pub(crate) use capabilities::{DeviceClass, DeviceKind, Vendor};
pub use key::OutputKey;
pub use options::{InputFormat, KernelPath, PlanOptions, Winograd};
#[cfg(feature = "cpu")]
pub(crate) use projection::projection_of;
pub(crate) use step::{Step, Writable};

/// A value that can be read after the run.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct PlannedOutput {
    /// Its name.
    pub name: String,
    /// Its roles.
    pub roles: Vec<Role>,
    /// Its shape.
    pub shape: Shape,
    /// The positions of its pixels in the image.
    #[doc(hidden)]
    pub sites: Sites,
    /// The buffer that contains it, channel-packed, from the first byte on.
    #[doc(hidden)]
    pub allocation: AllocationId,
}

impl PlannedOutput {
    /// The position of an element, given its image, channel, row and column, in the buffer of
    /// [`Executor::output`](crate::gpu::Executor::output), in numbers of 32 bits.
    pub const fn index(&self, [n, c, y, x]: [usize; 4]) -> usize {
        let Shape { h, w, .. } = self.shape;
        ((c / LANES) * self.shape.pixels() + (n * h + y) * w + x) * LANES + c % LANES
    }

    /// The same for a shader: the text of `fn load(n: u32, c: u32, y: u32, x: u32) -> f32`, which reads an
    /// element from `var<storage, read> BUFFER: array<f32>`, whatever its name and binding.
    pub fn wgsl(&self, buffer: &str) -> String {
        let Shape { h, w, .. } = self.shape;
        let pixels = self.shape.pixels();
        format!(
            "fn load(n: u32, c: u32, y: u32, x: u32) -> f32 {{\n    return {buffer}[((c / {LANES}u) * \
             {pixels}u + (n * {h}u + y) * {w}u + x) * {LANES}u + c % {LANES}u];\n}}\n"
        )
    }
}

/// A graph as dispatches and memory.
#[derive(Clone, Debug)]
pub struct Plan {
    steps: Vec<Step>,
    allocations: Vec<Allocation>,
    input: AllocationId,
    input_shape: Shape,
    input_format: InputFormat,
    outputs: Vec<PlannedOutput>,
    writables: Vec<Writable>,
    activation_lower_bound_bytes: u64,
}

impl Plan {
    /// Plans a graph with one input.
    ///
    /// # Errors
    /// [`Error::LimitExceeded`] if a layer needs more than the device allows,
    /// [`Error::PathUnavailable`] if the device cannot run the requested kernels, and
    /// [`Error::Model`] if the graph does not have exactly one input, or has no output.
    pub fn new(graph: &Graph, options: &PlanOptions) -> Result<Self, Error> {
        let &[input] = graph.inputs() else {
            return Err(Error::Model {
                model: "graph".to_owned(),
                reason: format!(
                    "a plan needs exactly one input, got {}",
                    graph.inputs().len()
                ),
            });
        };
        if graph.outputs().is_empty() {
            return Err(Error::Model {
                model: "graph".to_owned(),
                reason: "nothing is marked as an output".to_owned(),
            });
        }
        match planner::plan(graph, input, options) {
            // Kernels that read what is there may need larger activations than the defaults.
            Err(Error::LimitExceeded { .. }) if options.has_shared() => {
                planner::plan(graph, input, &options.clone().share(HashSet::new()))
            }
            planned => planned,
        }
    }

    /// Total size of activations in bytes.
    #[doc(hidden)]
    pub fn activation_bytes(&self) -> u64 {
        self.bytes_of(|content| matches!(content, Content::Activations))
    }

    /// Total size of parameters in bytes, as packed for the kernels.
    #[doc(hidden)]
    pub fn weight_bytes(&self) -> u64 {
        self.bytes_of(|content| matches!(content, Content::Parameters(_)))
    }

    fn bytes_of(&self, wanted: impl Fn(&Content) -> bool) -> u64 {
        let allocations = self.allocations.iter();
        let wanted = allocations.filter(|a| wanted(&a.content));
        wanted.map(|a| a.bytes).sum()
    }
}

impl fmt::Display for Plan {
    /// One line per dispatch, then a summary.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{:>3}  {:<24} {:<18} {:<27} {:<20} {:<14} buffers",
            "#", "layer", "kernel", "choice", "output", "workgroups"
        )?;
        for (index, step) in self.steps.iter().enumerate() {
            let [x, y, z] = step.launch.workgroups;
            writeln!(
                f,
                "{index:>3}  {:<24} {:<18} {:<27} {:<20} {:<14} {}",
                step.node,
                step.launch.kernel.name,
                step.choice
                    .map_or_else(String::new, |choice| choice.to_string()),
                step.shape.to_string(),
                format!("{x}×{y}×{z}"),
                self.activations_of(step)
            )?;
        }
        writeln!(
            f,
            "{} dispatches, {} distinct pipelines, activations {} bytes (lower bound {}), weights {} bytes",
            self.steps.len(),
            self.distinct_pipelines(),
            self.activation_bytes(),
            self.activation_lower_bound_bytes,
            self.weight_bytes()
        )
    }
}

impl Plan {
    /// The input and the activations of a step, in the form `a + b → c`.
    fn activations_of(&self, step: &Step) -> String {
        let label = |id: &AllocationId| match self.allocation(*id).content {
            Content::Input => Some("in".to_owned()),
            Content::Activations => self
                .allocation(*id)
                .name
                .strip_prefix("activations ")
                .map(str::to_owned),
            Content::Parameters(_) => None,
        };
        let Some((output, inputs)) = step.allocations.split_last() else {
            return String::new();
        };
        let inputs: Vec<String> = inputs.iter().filter_map(label).collect();
        format!(
            "{} → {}",
            inputs.join(" + "),
            label(output).unwrap_or_default()
        )
    }
}

#[doc(hidden)]
impl Plan {
    /// The values that can be read after the run.
    pub fn outputs(&self) -> &[PlannedOutput] {
        &self.outputs
    }

    /// The dispatches, in order.
    pub fn steps(&self) -> &[Step] {
        &self.steps
    }

    /// All buffers and textures.
    pub fn allocations(&self) -> &[Allocation] {
        &self.allocations
    }

    /// One of the allocations.
    ///
    /// # Panics
    /// If the id belongs to another, larger plan.
    pub fn allocation(&self, id: AllocationId) -> &Allocation {
        &self.allocations[id.0]
    }

    /// The buffer that the caller fills.
    pub fn input(&self) -> AllocationId {
        self.input
    }

    /// The shape of the input tensor.
    pub fn input_shape(&self) -> Shape {
        self.input_shape
    }

    /// The format of the input.
    pub fn input_format(&self) -> InputFormat {
        self.input_format
    }

    /// Finds an output by its name or its role.
    ///
    /// # Errors
    /// [`Error::UnknownValue`] and [`Error::NoRole`] if the plan keeps no such value.
    pub fn output<'a>(&self, key: impl Into<OutputKey<'a>>) -> Result<&PlannedOutput, Error> {
        let index = key.into().find(&self.outputs)?;
        Ok(&self.outputs[index])
    }

    /// The parameters that may be written between runs.
    pub fn writables(&self) -> &[Writable] {
        &self.writables
    }

    /// The largest number of activation bytes alive at the same time, below which no assignment can
    /// go.
    pub fn activation_lower_bound_bytes(&self) -> u64 {
        self.activation_lower_bound_bytes
    }

    /// The number of launches that differ in their kernel or constants, each of which the driver
    /// has to compile.
    pub fn distinct_pipelines(&self) -> usize {
        let keys = self.steps.iter().map(|step| step.launch.pipeline_key());
        keys.collect::<HashSet<_>>().len()
    }
}
