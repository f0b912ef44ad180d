//! How to compute a graph: a list of kernel launches and the buffers between them.
//!
//! In goes a [`Graph`], usually one that [`crate::passes`] has optimised; out comes a [`Plan`],
//! plain data without any GPU type, that prints as its list of dispatches. [`choose`](self) decides
//! which kernel runs each node, [`memory`] which activations share a buffer.
//! Next stop: `gpu::Executor`, which makes pipelines and buffers of it.

use std::collections::HashMap;
use std::fmt;
use std::str::FromStr;

use crate::error::Error;
use crate::graph::{Graph, Node, Op, ValueId};
use crate::kernels::image_to_tensor::{self, Normalization};
use crate::kernels::winograd::OutTile;
use crate::kernels::{
    Launch, Packing, Storage, conv2d_texture, image_to_tensor_texture, tensor_to_texture,
    texture_to_tensor,
};
use crate::tensor::{FOLD_ROW_BYTES, FOLD_WIDTH, LANES, Shape, Tensor, folded_rows};

mod choose;
pub mod memory;
mod tiles;

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

/// What the device allows and offers. The defaults are WebGPU's default limits and features.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of one storage buffer binding.
    pub storage_binding_bytes: u64,
    /// Bytes of one buffer.
    pub buffer_bytes: u64,
    /// Workgroups along one dimension of a dispatch.
    pub workgroups_per_dimension: u64,
    /// Texels along one side of a texture.
    pub texture_side: u64,
    /// Bytes of immediates; none where the device has no such feature.
    pub immediate_bytes: u64,
    /// Smallest and largest number of lanes in a subgroup, where shaders may use subgroups.
    pub subgroup_lanes: Option<[u32; 2]>,
    /// Whether the device is a CPU.
    pub software: bool,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            storage_binding_bytes: 128 << 20,
            buffer_bytes: 256 << 20,
            workgroups_per_dimension: 65_535,
            texture_side: 8192,
            immediate_bytes: 0,
            subgroup_lanes: None,
            software: false,
        }
    }
}

impl Limits {
    /// What keeps the device from running the kernels on textures; `None` when nothing does.
    pub fn texture_path_obstacle(&self) -> Option<String> {
        let lanes = conv2d_texture::SUBGROUP;
        if self.immediate_bytes < conv2d_texture::IMMEDIATE_BYTES {
            Some(format!(
                "it needs {} bytes of immediates, the device has {}",
                conv2d_texture::IMMEDIATE_BYTES,
                self.immediate_bytes
            ))
        } else if let Some([min, max]) = self.subgroup_lanes {
            let fits = min == lanes && max == lanes;
            (!fits).then(|| {
                format!("it needs subgroups of {lanes} lanes, the device has {min} to {max}")
            })
        } else {
            Some(format!(
                "it needs subgroups of {lanes} lanes, the device has none"
            ))
        }
    }
}

/// What activations and weights lie in, and with that which kernels run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Path {
    /// Textures on a CPU that can, buffers everywhere else.
    #[default]
    Auto,
    /// Storage buffers: every device can.
    Buffers,
    /// Storage textures and subgroups of eight lanes, on any device that has them.
    Textures,
}

impl FromStr for Path {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "auto" => Ok(Self::Auto),
            "buffers" => Ok(Self::Buffers),
            "textures" => Ok(Self::Textures),
            _ => Err(format!("'{text}' is not one of auto, buffers, textures")),
        }
    }
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Auto => "auto",
            Self::Buffers => "buffers",
            Self::Textures => "textures",
        })
    }
}

/// Whether 3×3 convolutions of stride 1 are computed with fewer multiplications, on textures.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Winograd {
    /// Where it should be faster.
    #[default]
    Auto,
    /// Nowhere.
    Off,
    /// Wherever it can be done, in tiles of 2×2 outputs.
    Two,
    /// Wherever it can be done, in tiles of 4×4 outputs.
    Four,
}

impl FromStr for Winograd {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "auto" => Ok(Self::Auto),
            "off" => Ok(Self::Off),
            "f2" => Ok(Self::Two),
            "f4" => Ok(Self::Four),
            _ => Err(format!("'{text}' is not one of auto, off, f2, f4")),
        }
    }
}

impl fmt::Display for Winograd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Auto => "auto",
            Self::Off => "off",
            Self::Two => "f2",
            Self::Four => "f4",
        })
    }
}

/// How a graph is planned.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct PlanOptions {
    /// What the caller uploads.
    pub input: InputFormat,
    /// What the device allows and offers.
    pub limits: Limits,
    /// What activations and weights lie in.
    pub path: Path,
    /// Whether 3×3 convolutions are computed with fewer multiplications, on textures.
    pub winograd: Winograd,
}

impl PlanOptions {
    /// Whether the kernels on textures are to run.
    ///
    /// A texel fetch costs llvmpipe a tenth of a load from a storage buffer; GPUs have shared memory
    /// for that, which the kernels on buffers use.
    fn textures(&self) -> Result<bool, Error> {
        let obstacle = self.limits.texture_path_obstacle();
        match (self.path, obstacle) {
            (Path::Buffers, _) => Ok(false),
            (Path::Auto, obstacle) => Ok(self.limits.software && obstacle.is_none()),
            (Path::Textures, None) => Ok(true),
            (Path::Textures, Some(reason)) => Err(Error::PathUnavailable {
                path: self.path,
                reason,
            }),
        }
    }
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
    /// Whether it is a buffer or a texture after all.
    pub storage: Storage,
    /// What it holds.
    pub content: Content,
}

impl Buffer {
    /// Rows of a texture of [`FOLD_WIDTH`] columns.
    pub const fn texture_rows(&self) -> u64 {
        self.bytes / FOLD_ROW_BYTES as u64
    }
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
    /// [`Error::LimitExceeded`] when a layer needs more than the device allows,
    /// [`Error::PathUnavailable`] when the device cannot run the kernels asked for, and
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

/// Names something that a dispatch reads or writes: a value in a buffer, a value in a texture, or
/// what the dispatches of one node hand on to each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct PlaceId(usize);

/// What a dispatch does.
#[derive(Clone, Copy)]
enum Work<'a> {
    /// Computes a node.
    Node(&'a Node),
    /// Computes a part of a node.
    Winograd(&'a Node, OutTile, choose::Stage),
    /// Makes the input tensor of pixels.
    Pixels(Normalization, Storage),
    /// Copies a value to the other storage.
    Convert(ValueId, Storage),
}

/// One dispatch before activations have slots; the launch follows once it is known what is in place.
struct Draft<'a> {
    work: Work<'a>,
    reads: Vec<PlaceId>,
    write: PlaceId,
    in_place: Option<PlaceId>,
}

/// The dispatches so far, and the places that they fill.
struct Drafts<'a> {
    list: Vec<Draft<'a>>,
    /// Size of every place.
    sizes: Vec<memory::Place>,
    /// Whether a place is filled.
    exists: Vec<bool>,
}

impl Drafts<'_> {
    fn new_place(&mut self, size: memory::Place) -> PlaceId {
        self.sizes.push(size);
        self.exists.push(false);
        PlaceId(self.sizes.len() - 1)
    }
}

struct Planner<'a> {
    graph: &'a Graph,
    options: &'a PlanOptions,
    /// Whether the kernels on textures run.
    textures: bool,
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
            textures: options.textures()?,
            input,
            alias,
            buffers: vec![Buffer {
                name,
                bytes,
                storage: Storage::Buffer,
                content: Content::Input,
            }],
            steps: Vec::new(),
        })
    }

    fn finish(mut self) -> Result<Plan, Error> {
        let drafts = self.drafts();
        let assignment = self.assign_memory(&drafts);
        let drafts = drafts.list;

        let first_slot = self.buffers.len();
        for (slot, size) in assignment.slots.iter().enumerate() {
            self.buffers.push(Buffer {
                name: format!("activations {slot}"),
                bytes: match size.storage {
                    Storage::Buffer => size.bytes,
                    Storage::Texture => folded_bytes(size.bytes / TEXEL_BYTES),
                },
                storage: size.storage,
                content: Content::Activations,
            });
        }
        let places: Vec<BufferId> = assignment
            .slot_of
            .iter()
            .map(|slot| slot.map_or(INPUT_BUFFER, |slot| BufferId(first_slot + slot)))
            .collect();

        for draft in &drafts {
            self.push_draft(draft, &places)?;
        }
        self.check_buffers()?;

        let outputs = self.graph.outputs().iter().map(|&id| Output {
            name: self.graph.value(id).name.clone(),
            shape: self.graph.shape(id),
            buffer: places[self.place(id, Storage::Buffer).0],
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

    /// Where the numbers of a value lie.
    fn place(&self, value: ValueId, storage: Storage) -> PlaceId {
        PlaceId(self.alias[value.0].0 * 2 + storage as usize)
    }

    /// All dispatches: those of the nodes, and conversions where a kernel or the caller wants a value
    /// in the other storage.
    fn drafts(&self) -> Drafts<'a> {
        let nodes = self.graph.nodes().iter();
        let nodes: Vec<&Node> = nodes.filter(|n| !is_alias(self.graph, n)).collect();
        let mut drafts = Drafts {
            list: Vec::new(),
            sizes: Vec::new(),
            exists: Vec::new(),
        };
        for (_, value) in self.graph.values() {
            drafts.new_place(memory::Place::buffer(packed_bytes(value.shape)));
            drafts.new_place(texture_place(value.shape, 1));
        }
        match self.options.input {
            InputFormat::Tensor => {
                drafts.exists[self.place(self.input, Storage::Buffer).0] = true;
            }
            InputFormat::Rgba8(normalization) => {
                let mut readers = nodes.iter().filter(|n| n.inputs.contains(&self.input));
                let on_textures = |n: &&Node| self.storages_of(n)[0] == Storage::Texture;
                let storage = if readers.any(on_textures) {
                    Storage::Texture
                } else {
                    Storage::Buffer
                };
                let work = Work::Pixels(normalization, storage);
                self.add_value(&mut drafts, work, vec![], self.input, storage);
            }
        }
        for node in nodes {
            self.add_node(&mut drafts, node);
        }
        // The caller's own buffer, or a value that was made for a texture kernel, may be wanted too.
        for &output in self.graph.outputs() {
            if !drafts.exists[self.place(output, Storage::Buffer).0] {
                self.add_conversion(&mut drafts, output, Storage::Buffer);
            }
        }
        drafts
    }

    fn storages_of(&self, node: &Node) -> [Storage; 2] {
        choose::storages_of(node, self.textures)
    }

    fn add_node(&self, drafts: &mut Drafts<'a>, node: &'a Node) {
        let [from, to] = self.storages_of(node);
        for &input in &node.inputs {
            if !drafts.exists[self.place(input, from).0] {
                self.add_conversion(drafts, input, from);
            }
        }
        let reads: Vec<PlaceId> = node.inputs.iter().map(|&v| self.place(v, from)).collect();
        let winograd = if from == Storage::Texture {
            choose::winograd_for(self.graph, node, self.options.winograd)
        } else {
            None
        };
        let Some(out_tile) = winograd else {
            self.add_value(drafts, Work::Node(node), reads, node.output, to);
            return;
        };
        let components = |value: ValueId| {
            let shape = self.graph.shape(value);
            let component = out_tile.component(self.graph.shape(node.output), shape.c);
            texture_place(component, out_tile.components())
        };
        let work = |stage| Work::Winograd(node, out_tile, stage);
        let transformed = drafts.new_place(components(node.inputs[0]));
        let products = drafts.new_place(components(node.output));
        for (stage, read, write) in [
            (choose::Stage::Input, reads[0], transformed),
            (choose::Stage::Products, transformed, products),
        ] {
            drafts.list.push(Draft {
                work: work(stage),
                reads: vec![read],
                write,
                in_place: None,
            });
        }
        let reads = [&[products], &reads[1..]].concat();
        let last = work(choose::Stage::Output);
        self.add_value(drafts, last, reads, node.output, to);
    }

    /// Adds a dispatch that completes a value.
    fn add_value(
        &self,
        drafts: &mut Drafts<'a>,
        work: Work<'a>,
        reads: Vec<PlaceId>,
        value: ValueId,
        storage: Storage,
    ) {
        let write = self.place(value, storage);
        let in_place = match work {
            Work::Node(node) => choose::in_place_input(node, self.textures),
            Work::Winograd(..) | Work::Pixels(..) | Work::Convert(..) => None,
        };
        drafts.exists[write.0] = true;
        drafts.list.push(Draft {
            work,
            reads,
            write,
            in_place: in_place.map(|v| self.place(v, storage)),
        });
        let mut outputs = self.graph.outputs().iter();
        let wanted = outputs.any(|v| self.alias[v.0] == self.alias[value.0]);
        if wanted && storage == Storage::Texture {
            // At once, so that the texture need not live until the end. The caller's own tensor lies
            // in a buffer before.
            self.add_conversion(drafts, value, Storage::Buffer);
        }
    }

    fn add_conversion(&self, drafts: &mut Drafts<'a>, value: ValueId, to: Storage) {
        let from = match to {
            Storage::Buffer => Storage::Texture,
            Storage::Texture => Storage::Buffer,
        };
        let reads = vec![self.place(value, from)];
        let value = self.alias[value.0];
        if !drafts.exists[self.place(value, to).0] {
            self.add_value(drafts, Work::Convert(value, to), reads, value, to);
        }
    }

    fn assign_memory(&self, drafts: &Drafts<'_>) -> memory::Assignment {
        let drafts_uses = drafts.list.iter().map(|draft| memory::StepUse {
            reads: draft.reads.iter().map(|place| place.0).collect(),
            write: draft.write.0,
            in_place: draft.in_place.map(|place| place.0),
        });
        let uses: Vec<memory::StepUse> = drafts_uses.collect();
        let outputs = self.graph.outputs().iter();
        let kept: Vec<usize> = outputs.map(|&v| self.place(v, Storage::Buffer).0).collect();
        memory::assign(&drafts.sizes, &uses, &kept)
    }

    fn push_draft(&mut self, draft: &Draft<'_>, places: &[BufferId]) -> Result<(), Error> {
        match draft.work {
            Work::Node(node) => {
                let in_place = draft
                    .in_place
                    .is_some_and(|place| places[place.0] == places[draft.write.0]);
                let texture_kernel = if self.textures {
                    choose::texture_kernel_for(self.graph, node)
                } else {
                    None
                };
                let choice = texture_kernel
                    .unwrap_or_else(|| choose::kernel_for(self.graph, node, in_place));
                self.push_choice(node, choice, draft, places)
            }
            Work::Winograd(node, out_tile, stage) => {
                match choose::winograd_stage(self.graph, node, out_tile, stage) {
                    Some(choice) => self.push_choice(node, choice, draft, places),
                    None => unreachable!("only convolutions have stages"),
                }
            }
            Work::Pixels(normalization, storage) => {
                check_normalization(&normalization)?;
                let shape = self.graph.shape(self.input);
                let launch = match storage {
                    Storage::Buffer => image_to_tensor::launch(shape, &normalization),
                    Storage::Texture => image_to_tensor_texture::launch(shape, &normalization),
                };
                let input_bytes = self.buffers[INPUT_BUFFER.0].bytes;
                let buffers = vec![INPUT_BUFFER, places[draft.write.0]];
                self.push_copy("image_to_tensor", self.input, launch, buffers, input_bytes)
            }
            Work::Convert(value, to) => {
                let shape = self.graph.shape(value);
                let launch = match to {
                    Storage::Buffer => texture_to_tensor::launch(shape),
                    Storage::Texture => tensor_to_texture::launch(shape),
                };
                let buffers = vec![places[draft.reads[0].0], places[draft.write.0]];
                let name = launch.kernel.name;
                self.push_copy(name, value, launch, buffers, packed_bytes(shape))
            }
        }
    }

    /// A step that computes nothing of the graph.
    fn push_copy(
        &mut self,
        name: &str,
        value: ValueId,
        launch: Launch,
        buffers: Vec<BufferId>,
        input_bytes: u64,
    ) -> Result<(), Error> {
        let value = self.graph.value(value);
        self.push(Step {
            node: name.to_owned(),
            value: value.name.clone(),
            shape: value.shape,
            launch,
            buffers,
            macs: 0,
            bytes: input_bytes + packed_bytes(value.shape),
        })
    }

    /// A step that computes a node, or a part of it. Of several parts, the one that multiplies counts
    /// as the arithmetic of the node, and the one that completes the value as its traffic.
    fn push_choice(
        &mut self,
        node: &Node,
        choice: choose::Choice,
        draft: &Draft<'_>,
        places: &[BufferId],
    ) -> Result<(), Error> {
        let constants: Vec<BufferId> = choice
            .constants
            .into_iter()
            .map(|(role, c)| self.push_constant(node, role, c))
            .collect();
        let (multiplies, completes) = match draft.work {
            Work::Winograd(_, _, stage) => (
                stage == choose::Stage::Products,
                stage == choose::Stage::Output,
            ),
            _ => (true, true),
        };
        let mut bytes: u64 = constants.iter().map(|id| self.buffers[id.0].bytes).sum();
        if completes {
            let values = node.inputs.iter().chain([&node.output]);
            bytes += values
                .map(|&v| packed_bytes(self.graph.shape(v)))
                .sum::<u64>();
        }
        let buffers = choice.operands.iter().map(|operand| match *operand {
            choose::Operand::Input(index) => places[draft.reads[index].0],
            choose::Operand::Constant(index) => constants[index],
            choose::Operand::Output => places[draft.write.0],
        });
        let step = Step {
            node: node.name.clone(),
            value: self.graph.value(node.output).name.clone(),
            shape: self.graph.shape(node.output),
            launch: choice.launch,
            buffers: buffers.collect(),
            macs: if multiplies { self.graph.macs(node) } else { 0 },
            bytes,
        };
        self.push(step)
    }

    fn push_constant(&mut self, node: &Node, role: &str, constant: Constant) -> BufferId {
        let scalars = constant.packing.len(&constant.tensors);
        let storage = constant.packing.storage();
        self.buffers.push(Buffer {
            name: format!("{}.{role}", node.name),
            bytes: match storage {
                Storage::Buffer => scalars as u64 * 4,
                Storage::Texture => (folded_rows(scalars / LANES) * FOLD_ROW_BYTES) as u64,
            },
            storage,
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
        for (id, buffer) in self.buffers.iter().enumerate() {
            let (what, allowed) = self.allowed_bytes(buffer);
            if buffer.bytes > allowed {
                let id = BufferId(id);
                let user = self.steps.iter().find(|s| s.buffers.contains(&id));
                return Err(Error::LimitExceeded {
                    node: user.map_or_else(|| buffer.name.clone(), |s| s.node.clone()),
                    what,
                    needed: buffer.bytes,
                    allowed,
                    hint: "use a smaller batch or image",
                });
            }
        }
        Ok(())
    }

    fn allowed_bytes(&self, buffer: &Buffer) -> (&'static str, u64) {
        let limits = &self.options.limits;
        match buffer.storage {
            Storage::Buffer => (
                "bytes in one storage buffer",
                limits.storage_binding_bytes.min(limits.buffer_bytes),
            ),
            Storage::Texture => (
                "bytes in one texture",
                limits.texture_side * FOLD_ROW_BYTES as u64,
            ),
        }
    }
}

fn check_normalization(normalization: &Normalization) -> Result<(), Error> {
    let broken = (0..3).find(|&c| {
        let (mean, std) = (normalization.mean[c], normalization.std[c]);
        !(mean.is_finite() && std.is_finite() && std > 0.0)
    });
    match broken {
        None => Ok(()),
        Some(c) => Err(Error::Geometry {
            node: "image_to_tensor".to_owned(),
            reason: format!(
                "channel {c} has mean {} and standard deviation {}",
                normalization.mean[c], normalization.std[c]
            ),
        }),
    }
}

/// Bytes of one texel, or of one vector in a buffer.
const TEXEL_BYTES: u64 = (LANES * size_of::<f32>()) as u64;

/// Activations of a number of equal shapes in one texture, without the row of zeros, which a texture
/// has once, whatever it holds.
fn texture_place(shape: Shape, count: usize) -> memory::Place {
    let texels = (shape.packed_len() / LANES * count) as u64;
    memory::Place {
        bytes: texels * TEXEL_BYTES,
        storage: Storage::Texture,
    }
}

/// Bytes of a texture for activations of so many texels: one row of zeros comes first.
fn folded_bytes(texels: u64) -> u64 {
    let texels = usize::try_from(texels).unwrap_or(usize::MAX - FOLD_WIDTH);
    (folded_rows(FOLD_WIDTH + texels) * FOLD_ROW_BYTES) as u64
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
