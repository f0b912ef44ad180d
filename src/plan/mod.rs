//! How to compute a graph: a list of kernel launches and the buffers between them.
//!
//! In goes a [`Graph`], usually one that [`crate::passes`] has optimised; out comes a [`Plan`],
//! plain data without any GPU type, that prints as its list of dispatches. [`choose`](self) decides
//! which kernel runs each node, [`memory`] which activations share a buffer.
//! Next stop: `gpu::Executor`, which makes pipelines and buffers of it.

use std::collections::HashMap;
use std::fmt;

use crate::error::Error;
use crate::graph::{Graph, Node, Op, ValueId};
use crate::kernels::image_to_tensor::{self, Normalization};
use crate::kernels::{Launch, Packing};
use crate::tensor::{Shape, Tensor};

mod choose;
pub mod memory;

/// Names one buffer of a plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct BufferId(pub(crate) usize);

/// What the caller uploads.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum InputFormat {
    /// The channel-packed input tensor ([`crate::tensor::pack`]).
    #[default]
    Tensor,
    /// RGBA8 pixels, N×H×W, that the first dispatch normalises.
    Rgba8(Normalization),
}

/// What the device allows. The defaults are WebGPU's default limits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of one storage buffer binding.
    pub storage_binding_bytes: u64,
    /// Bytes of one buffer.
    pub buffer_bytes: u64,
    /// Workgroups along one dimension of a dispatch.
    pub workgroups_per_dimension: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            storage_binding_bytes: 128 << 20,
            buffer_bytes: 256 << 20,
            workgroups_per_dimension: 65_535,
        }
    }
}

/// How a graph is planned.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct PlanOptions {
    /// What the caller uploads.
    pub input: InputFormat,
    /// What the device allows.
    pub limits: Limits,
}

/// Parameters as the kernels want them, and the tensors that they come from.
#[derive(Clone, Debug)]
pub struct Constant {
    /// How the tensors are laid out.
    pub packing: Packing,
    /// The tensors, shared with the graph.
    pub tensors: Vec<Tensor>,
}

/// What a buffer of a plan holds.
#[derive(Clone, Debug)]
pub enum Content {
    /// What the caller uploads before each run.
    Input,
    /// Activations, one after the other.
    Activations,
    /// Parameters, uploaded once.
    Constant(Constant),
}

/// One buffer of a plan.
#[derive(Clone, Debug)]
pub struct Buffer {
    /// Name for labels and messages.
    pub name: String,
    /// Size.
    pub bytes: u64,
    /// What it holds.
    pub content: Content,
}

/// One dispatch.
#[derive(Clone, Debug)]
pub struct Step {
    /// The layer, such as `layer1.0.conv2`.
    pub node: String,
    /// The value that it computes, such as `layer1.0.relu2`.
    pub value: String,
    /// Shape of that value.
    pub shape: Shape,
    /// The kernel with its constants and grid.
    pub launch: Launch,
    /// Its buffers, in the order of the kernel's bindings.
    pub buffers: Vec<BufferId>,
    /// Multiply-accumulate operations.
    pub macs: u64,
    /// Bytes of inputs, parameters and output, each counted once.
    pub bytes: u64,
}

/// A value that can be read after the run.
#[derive(Clone, Debug, PartialEq)]
pub struct Output {
    /// Its name.
    pub name: String,
    /// Its shape.
    pub shape: Shape,
    /// The buffer in which it lies, channel-packed, from the start.
    pub buffer: BufferId,
}

/// A graph as dispatches and buffers.
#[derive(Clone, Debug)]
pub struct Plan {
    steps: Vec<Step>,
    buffers: Vec<Buffer>,
    input: BufferId,
    input_shape: Shape,
    input_format: InputFormat,
    outputs: Vec<Output>,
    activation_lower_bound_bytes: u64,
}

impl Plan {
    /// Plans a graph of one input.
    ///
    /// # Errors
    /// [`Error::LimitExceeded`] when a layer needs more than the device allows, and
    /// [`Error::Model`] when the graph has not exactly one input, or no output.
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
        Planner::new(graph, input, options)?.finish()
    }

    /// The dispatches, in order.
    pub fn steps(&self) -> &[Step] {
        &self.steps
    }

    /// All buffers.
    pub fn buffers(&self) -> &[Buffer] {
        &self.buffers
    }

    /// One buffer.
    ///
    /// # Panics
    /// When the buffer is of another, larger plan.
    pub fn buffer(&self, id: BufferId) -> &Buffer {
        &self.buffers[id.0]
    }

    /// The buffer that the caller fills.
    pub fn input(&self) -> BufferId {
        self.input
    }

    /// Shape of the input tensor.
    pub fn input_shape(&self) -> Shape {
        self.input_shape
    }

    /// What the caller fills it with.
    pub fn input_format(&self) -> InputFormat {
        self.input_format
    }

    /// The values that can be read after the run.
    pub fn outputs(&self) -> &[Output] {
        &self.outputs
    }

    /// Bytes of all activation buffers.
    pub fn activation_bytes(&self) -> u64 {
        self.bytes_of(|content| matches!(content, Content::Activations))
    }

    /// The largest number of activation bytes alive at once: no assignment can do with less.
    pub fn activation_lower_bound_bytes(&self) -> u64 {
        self.activation_lower_bound_bytes
    }

    /// Bytes of all parameters, as packed for the kernels.
    pub fn weight_bytes(&self) -> u64 {
        self.bytes_of(|content| matches!(content, Content::Constant(_)))
    }

    fn bytes_of(&self, wanted: impl Fn(&Content) -> bool) -> u64 {
        let buffers = self.buffers.iter().filter(|b| wanted(&b.content));
        buffers.map(|b| b.bytes).sum()
    }
}

/// One dispatch before activations have slots; the launch follows once it is known what is in place.
struct Draft<'a> {
    node: &'a Node,
    reads: Vec<ValueId>,
    in_place: Option<ValueId>,
}

struct Planner<'a> {
    graph: &'a Graph,
    options: &'a PlanOptions,
    input: ValueId,
    /// The value whose memory each value shares by being the same numbers in the same order.
    alias: Vec<ValueId>,
    buffers: Vec<Buffer>,
    steps: Vec<Step>,
}

/// The only buffer that exists before the memory is planned.
const INPUT_BUFFER: BufferId = BufferId(0);

impl<'a> Planner<'a> {
    fn new(graph: &'a Graph, input: ValueId, options: &'a PlanOptions) -> Result<Self, Error> {
        let shape = graph.shape(input);
        let (name, bytes) = match options.input {
            InputFormat::Tensor => (graph.value(input).name.clone(), packed_bytes(shape)),
            InputFormat::Rgba8(_) if shape.c != 3 => {
                return Err(Error::Model {
                    model: "graph".to_owned(),
                    reason: format!("RGBA8 input needs a tensor of 3 channels, got {}", shape.c),
                });
            }
            InputFormat::Rgba8(_) => ("pixels".to_owned(), shape.pixels() as u64 * 4),
        };
        let mut alias: Vec<ValueId> = graph.values().map(|(id, _)| id).collect();
        for node in graph.nodes() {
            if is_alias(graph, node) {
                alias[node.output.0] = alias[node.inputs[0].0];
            }
        }
        Ok(Self {
            graph,
            options,
            input,
            alias,
            buffers: vec![Buffer {
                name,
                bytes,
                content: Content::Input,
            }],
            steps: Vec::new(),
        })
    }

    fn finish(mut self) -> Result<Plan, Error> {
        let converts = matches!(self.options.input, InputFormat::Rgba8(_));
        let drafts = self.drafts();
        let assignment = self.assign_memory(&drafts, converts);

        let first_slot = self.buffers.len();
        for (slot, &bytes) in assignment.slot_bytes.iter().enumerate() {
            self.buffers.push(Buffer {
                name: format!("activations {slot}"),
                bytes,
                content: Content::Activations,
            });
        }
        let places: Vec<BufferId> = self
            .graph
            .values()
            .map(|(id, _)| {
                let slot = assignment.slot_of[self.alias[id.0].0];
                slot.map_or(INPUT_BUFFER, |slot| BufferId(first_slot + slot))
            })
            .collect();

        if let InputFormat::Rgba8(normalization) = self.options.input {
            self.push_conversion(&normalization, &places)?;
        }
        for draft in drafts {
            self.push_step(&draft, &places)?;
        }
        self.check_buffers()?;

        let outputs = self.graph.outputs().iter().map(|&id| Output {
            name: self.graph.value(id).name.clone(),
            shape: self.graph.shape(id),
            buffer: places[id.0],
        });
        Ok(Plan {
            outputs: outputs.collect(),
            steps: self.steps,
            buffers: self.buffers,
            input: INPUT_BUFFER,
            input_shape: self.graph.shape(self.input),
            input_format: self.options.input,
            activation_lower_bound_bytes: assignment.lower_bound_bytes,
        })
    }

    fn drafts(&self) -> Vec<Draft<'a>> {
        let nodes = self.graph.nodes().iter();
        nodes
            .filter(|node| !is_alias(self.graph, node))
            .map(|node| Draft {
                node,
                reads: node.inputs.iter().map(|v| self.alias[v.0]).collect(),
                in_place: choose::in_place_input(node).map(|v| self.alias[v.0]),
            })
            .collect()
    }

    fn assign_memory(&self, drafts: &[Draft<'_>], converts: bool) -> memory::Assignment {
        let bytes: Vec<u64> = self
            .graph
            .values()
            .map(|(_, v)| packed_bytes(v.shape))
            .collect();
        let mut uses = Vec::new();
        if converts {
            uses.push(memory::StepUse {
                write: self.input.0,
                ..Default::default()
            });
        }
        uses.extend(drafts.iter().map(|draft| memory::StepUse {
            reads: draft.reads.iter().map(|v| v.0).collect(),
            write: draft.node.output.0,
            in_place: draft.in_place.map(|v| v.0),
        }));
        let kept: Vec<usize> = self
            .graph
            .outputs()
            .iter()
            .map(|v| self.alias[v.0].0)
            .collect();
        memory::assign(&bytes, &uses, &kept)
    }

    fn push_conversion(
        &mut self,
        normalization: &Normalization,
        places: &[BufferId],
    ) -> Result<(), Error> {
        if let Some(c) = (0..3).find(|&c| {
            let (mean, std) = (normalization.mean[c], normalization.std[c]);
            !(mean.is_finite() && std.is_finite() && std > 0.0)
        }) {
            return Err(Error::Geometry {
                node: "image_to_tensor".to_owned(),
                reason: format!(
                    "channel {c} has mean {} and standard deviation {}",
                    normalization.mean[c], normalization.std[c]
                ),
            });
        }
        let value = self.graph.value(self.input);
        let launch = image_to_tensor::launch(value.shape, normalization);
        let bytes = packed_bytes(value.shape) + self.buffers[INPUT_BUFFER.0].bytes;
        self.push(Step {
            node: "image_to_tensor".to_owned(),
            value: value.name.clone(),
            shape: value.shape,
            launch,
            buffers: vec![INPUT_BUFFER, places[self.input.0]],
            macs: 0,
            bytes,
        })
    }

    fn push_step(&mut self, draft: &Draft<'_>, places: &[BufferId]) -> Result<(), Error> {
        let node = draft.node;
        let in_place = draft
            .in_place
            .is_some_and(|v| places[v.0] == places[node.output.0]);
        let choice = choose::kernel_for(self.graph, node, in_place);

        let constants: Vec<BufferId> = choice
            .constants
            .into_iter()
            .map(|(role, c)| self.push_constant(node, role, c))
            .collect();
        let mut bytes: u64 = constants.iter().map(|id| self.buffers[id.0].bytes).sum();
        let values = node.inputs.iter().chain([&node.output]);
        bytes += values
            .map(|&v| packed_bytes(self.graph.shape(v)))
            .sum::<u64>();

        let buffers = choice.operands.iter().map(|operand| match *operand {
            choose::Operand::Input(index) => places[node.inputs[index].0],
            choose::Operand::Constant(index) => constants[index],
            choose::Operand::Output => places[node.output.0],
        });
        let step = Step {
            node: node.name.clone(),
            value: self.graph.value(node.output).name.clone(),
            shape: self.graph.shape(node.output),
            launch: choice.launch,
            buffers: buffers.collect(),
            macs: self.graph.macs(node),
            bytes,
        };
        self.push(step)
    }

    fn push_constant(&mut self, node: &Node, role: &str, constant: Constant) -> BufferId {
        let scalars = constant.packing.len(&constant.tensors) as u64;
        self.buffers.push(Buffer {
            name: format!("{}.{role}", node.name),
            bytes: scalars * 4,
            content: Content::Constant(constant),
        });
        BufferId(self.buffers.len() - 1)
    }

    fn push(&mut self, step: Step) -> Result<(), Error> {
        let allowed = self.options.limits.workgroups_per_dimension;
        if let Some(&needed) = step.launch.workgroups.iter().find(|&&w| w > allowed) {
            return Err(Error::LimitExceeded {
                node: step.node,
                what: "workgroups in one dimension",
                needed,
                allowed,
                hint: "use a smaller batch or image",
            });
        }
        self.steps.push(step);
        Ok(())
    }

    fn check_buffers(&self) -> Result<(), Error> {
        let Limits {
            storage_binding_bytes,
            buffer_bytes,
            ..
        } = self.options.limits;
        let allowed = storage_binding_bytes.min(buffer_bytes);
        let Some((id, buffer)) = self
            .buffers
            .iter()
            .enumerate()
            .find(|(_, b)| b.bytes > allowed)
        else {
            return Ok(());
        };
        let user = self
            .steps
            .iter()
            .find(|s| s.buffers.contains(&BufferId(id)));
        Err(Error::LimitExceeded {
            node: user.map_or_else(|| buffer.name.clone(), |s| s.node.clone()),
            what: "bytes in one storage buffer",
            needed: buffer.bytes,
            allowed,
            hint: "use a smaller batch or image",
        })
    }
}

/// Whether a node only renames its input: flattening one pixel changes nothing.
fn is_alias(graph: &Graph, node: &Node) -> bool {
    let pixels = |s: Shape| s.h * s.w;
    matches!(node.op, Op::Flatten { .. }) && pixels(graph.shape(node.inputs[0])) == 1
}

fn packed_bytes(shape: Shape) -> u64 {
    shape.packed_len() as u64 * 4
}

impl fmt::Display for Plan {
    /// One line per dispatch, then a summary.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{:>3}  {:<24} {:<18} {:<20} {:<14} buffers",
            "#", "layer", "kernel", "output", "workgroups"
        )?;
        for (index, step) in self.steps.iter().enumerate() {
            let [x, y, z] = step.launch.workgroups;
            writeln!(
                f,
                "{index:>3}  {:<24} {:<18} {:<20} {:<14} {}",
                step.node,
                step.launch.kernel.name,
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
    /// Launches that differ in their kernel or constants: what the driver has to compile.
    pub fn distinct_pipelines(&self) -> usize {
        let mut seen: HashMap<&str, Vec<&Launch>> = HashMap::new();
        for step in &self.steps {
            let launches = seen.entry(step.launch.kernel.name).or_default();
            if !launches.iter().any(|l| l.same_pipeline(&step.launch)) {
                launches.push(&step.launch);
            }
        }
        seen.values().map(Vec::len).sum()
    }

    /// The input and activation buffers of a step, as `a + b → c`.
    fn activations_of(&self, step: &Step) -> String {
        let label = |id: &BufferId| match self.buffer(*id).content {
            Content::Input => Some("in".to_owned()),
            Content::Activations => self
                .buffer(*id)
                .name
                .strip_prefix("activations ")
                .map(str::to_owned),
            Content::Constant(_) => None,
        };
        let Some((output, inputs)) = step.buffers.split_last() else {
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
