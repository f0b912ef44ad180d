//! From a graph to dispatches and buffers.

use super::candidate::{self, Candidate, ConvShape};
use super::choose::{self, Choice};
use super::convolution::{self, Stage};
use super::options::{InputFormat, PlanOptions};
use super::{Buffer, BufferId, Constant, Content, Output, Plan, Step, memory};
use crate::error::Error;
use crate::graph::{Conv2d, Graph, Node, Op, ValueId};
use crate::kernels::image_to_tensor::{self, Normalization};
use crate::kernels::winograd::OutTile;
use crate::kernels::{
    Launch, Storage, conv2d_texture, image_to_tensor_texture, tensor_to_texture, texture_to_tensor,
};
use crate::tensor::{FOLD_ROW_BYTES, FOLD_WIDTH, LANES, Shape, folded_rows};

/// Plans a graph that has one input.
pub(super) fn plan(graph: &Graph, input: ValueId, options: &PlanOptions) -> Result<Plan, Error> {
    Planner::new(graph, input, options)?.finish()
}

/// Names something that a dispatch reads or writes: a value in a buffer, a value in a texture, or
/// what the dispatches of one node hand on to each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct PlaceId(usize);

/// The tiles of the outputs and those of the products.
type WinogradTiles = (OutTile, conv2d_texture::Tile);

/// What a dispatch does.
#[derive(Clone, Copy)]
enum Work<'a> {
    /// Computes a node other than a convolution.
    Node(&'a Node),
    /// Computes a convolution in one dispatch.
    Convolution(&'a Node, &'a Conv2d, Candidate),
    /// Computes a part of a convolution.
    Winograd(&'a Node, &'a Conv2d, WinogradTiles, Stage),
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
        let drafts = self.drafts()?;
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
    fn drafts(&self) -> Result<Drafts<'a>, Error> {
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
            self.add_node(&mut drafts, node)?;
        }
        // The caller's own buffer, or a value that was made for a texture kernel, may be wanted too.
        for &output in self.graph.outputs() {
            if !drafts.exists[self.place(output, Storage::Buffer).0] {
                self.add_conversion(&mut drafts, output, Storage::Buffer);
            }
        }
        Ok(drafts)
    }

    fn storages_of(&self, node: &Node) -> [Storage; 2] {
        choose::storages_of(node, self.textures)
    }

    fn add_node(&self, drafts: &mut Drafts<'a>, node: &'a Node) -> Result<(), Error> {
        let [from, to] = self.storages_of(node);
        for &input in &node.inputs {
            if !drafts.exists[self.place(input, from).0] {
                self.add_conversion(drafts, input, from);
            }
        }
        let reads: Vec<PlaceId> = node.inputs.iter().map(|&v| self.place(v, from)).collect();
        let work = match (&node.op, ConvShape::of(self.graph, node)) {
            (Op::Conv2d(conv), Some(shape)) => match candidate::chosen(&shape, self.options)? {
                Candidate::WinogradTexture(out_tile, tile) => {
                    let work = |stage| Work::Winograd(node, conv, (out_tile, tile), stage);
                    self.add_winograd(drafts, node, out_tile, reads, work);
                    return Ok(());
                }
                candidate => Work::Convolution(node, conv, candidate),
            },
            _ => Work::Node(node),
        };
        self.add_value(drafts, work, reads, node.output, to);
        Ok(())
    }

    /// Adds the three dispatches of a Winograd convolution on textures.
    fn add_winograd(
        &self,
        drafts: &mut Drafts<'a>,
        node: &'a Node,
        out_tile: OutTile,
        reads: Vec<PlaceId>,
        work: impl Fn(Stage) -> Work<'a>,
    ) {
        let components = |value: ValueId| {
            let shape = self.graph.shape(value);
            let component = out_tile.component(self.graph.shape(node.output), shape.c);
            texture_place(component, out_tile.components())
        };
        let transformed = drafts.new_place(components(node.inputs[0]));
        let products = drafts.new_place(components(node.output));
        for (stage, read, write) in [
            (Stage::Input, reads[0], transformed),
            (Stage::Products, transformed, products),
        ] {
            drafts.list.push(Draft {
                work: work(stage),
                reads: vec![read],
                write,
                in_place: None,
            });
        }
        let reads = [&[products], &reads[1..]].concat();
        self.add_value(
            drafts,
            work(Stage::Output),
            reads,
            node.output,
            Storage::Texture,
        );
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
            Work::Convolution(node, ..) => choose::in_place_input(node, self.textures),
            Work::Node(_) | Work::Winograd(..) | Work::Pixels(..) | Work::Convert(..) => None,
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
                let texture_kernel = if self.textures {
                    choose::texture_kernel_for(self.graph, node)
                } else {
                    None
                };
                match texture_kernel.or_else(|| choose::kernel_for(self.graph, node)) {
                    Some(choice) => self.push_choice(node, choice, draft, places),
                    None => unreachable!("convolutions are drafts of their own"),
                }
            }
            Work::Convolution(node, conv, candidate) => {
                let in_place = draft
                    .in_place
                    .is_some_and(|place| places[place.0] == places[draft.write.0]);
                let choice = convolution::choice(self.graph, node, conv, candidate, in_place);
                self.push_choice(node, choice, draft, places)
            }
            Work::Winograd(node, conv, tiles, stage) => {
                let choice = convolution::stage(self.graph, node, conv, tiles, stage);
                self.push_choice(node, choice, draft, places)
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
            choice: None,
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
        choice: Choice,
        draft: &Draft<'_>,
        places: &[BufferId],
    ) -> Result<(), Error> {
        let constants: Vec<BufferId> = choice
            .constants
            .into_iter()
            .map(|(role, c)| self.push_constant(node, role, c))
            .collect();
        let (multiplies, completes, candidate) = match draft.work {
            Work::Winograd(_, _, (out_tile, tile), stage) => (
                stage == Stage::Products,
                stage == Stage::Output,
                Some(Candidate::WinogradTexture(out_tile, tile)),
            ),
            Work::Convolution(.., candidate) => (true, true, Some(candidate)),
            _ => (true, true, None),
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
            choice: candidate,
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
