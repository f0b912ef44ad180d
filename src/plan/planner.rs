//! From a graph to dispatches and buffers.

use super::candidate::{self, Candidate, ConvShape};
use super::choose::{self, Choice, Form};
use super::convolution::{self, Convolution, Stage};
use super::options::{InputFormat, PlanOptions};
use super::{Buffer, BufferId, Constant, Content, Output, Plan, Step, Writable, memory};
use crate::error::Error;
use crate::explain::Sites;
use crate::graph::{Conv2d, Graph, Node, Op, ValueId};
use crate::kernels::image_to_tensor;
use crate::kernels::{
    Launch, Precision, Storage, image_to_tensor_texture, narrow, tensor_to_texture,
    texture_to_tensor, widen,
};
use crate::picture::Normalization;
use crate::tensor::{FOLD_ROW_SCALARS, FOLD_WIDTH, LANES, Shape, folded_rows};

/// Plans a graph that has one input.
pub(super) fn plan(graph: &Graph, input: ValueId, options: &PlanOptions) -> Result<Plan, Error> {
    Planner::new(graph, input, options)?.finish()
}

/// Names something that a dispatch reads or writes: a value in a buffer, a value in a texture, or
/// what the dispatches of one node hand on to each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct PlaceId(usize);

/// What a dispatch does.
#[derive(Clone, Copy)]
enum Work<'a> {
    /// Computes a node other than a convolution.
    Node(&'a Node),
    /// Computes a convolution, or a part of it.
    Convolution(&'a Node, &'a Conv2d, Candidate, Stage),
    /// Makes the input tensor of pixels.
    Pixels(Normalization, Form),
    /// Copies a value to another form.
    Convert(ValueId, Form),
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
    /// How feature maps lie in memory.
    maps: Form,
    input: ValueId,
    /// The value whose memory each value shares by being the same numbers in the same order.
    alias: Vec<ValueId>,
    buffers: Vec<Buffer>,
    writables: Vec<Writable>,
    steps: Vec<Step>,
}

/// The only buffer that exists before the memory is planned.
const INPUT_BUFFER: BufferId = BufferId(0);

impl<'a> Planner<'a> {
    fn new(graph: &'a Graph, input: ValueId, options: &'a PlanOptions) -> Result<Self, Error> {
        let shape = graph.shape(input);
        let (name, bytes) = match options.input {
            InputFormat::Tensor => (
                graph.value(input).name.clone(),
                packed_bytes(shape, Precision::F32),
            ),
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
            maps: choose::form_of_maps(options.textures()?, options.precision),
            input,
            alias,
            buffers: vec![Buffer {
                name,
                bytes,
                storage: Storage::Buffer,
                precision: Precision::F32,
                content: Content::Input,
            }],
            writables: Vec::new(),
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
                    Storage::Texture => folded_bytes(size.bytes, self.options.precision),
                },
                storage: size.storage,
                precision: self.options.precision,
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

        let outputs = self.graph.outputs().iter().map(|&id| {
            let roles = self.graph.roles().filter(|&(_, value)| value == id);
            Ok(Output {
                name: self.graph.value(id).name.clone(),
                roles: roles.map(|(role, _)| role).collect(),
                shape: self.graph.shape(id),
                sites: Sites::of(self.graph, id)?,
                buffer: places[self.place(id, Form::Single).0],
            })
        });
        Ok(Plan {
            outputs: outputs.collect::<Result<_, Error>>()?,
            writables: self.writables,
            steps: self.steps,
            buffers: self.buffers,
            input: INPUT_BUFFER,
            input_shape: self.graph.shape(self.input),
            input_format: self.options.input,
            activation_lower_bound_bytes: assignment.lower_bound_bytes,
        })
    }

    /// Where the numbers of a value lie.
    fn place(&self, value: ValueId, form: Form) -> PlaceId {
        PlaceId(self.alias[value.0].0 * Form::COUNT + form as usize)
    }

    /// The precision of a value in some form.
    const fn precision(&self, form: Form) -> Precision {
        match form {
            Form::Single => Precision::F32,
            Form::Half | Form::Texture => self.options.precision,
        }
    }

    /// The precision in which a node stores: that of the plan, except for the kernels on buffers beside
    /// those on textures.
    fn precision_of(&self, node: &Node) -> Precision {
        match (self.maps, self.forms_of(node)) {
            (Form::Texture, [Form::Single, _]) => Precision::F32,
            _ => self.options.precision,
        }
    }

    /// A number of activations of one shape, one after the other. A texture has the row of zeros in
    /// front of them once, whatever it holds: it is not counted.
    fn size_of(&self, shape: Shape, count: usize, form: Form) -> memory::Place {
        memory::Place {
            bytes: packed_bytes(shape, self.precision(form)) * count as u64,
            storage: form.storage(),
        }
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
            for form in [Form::Single, Form::Half, Form::Texture] {
                drafts.new_place(self.size_of(value.shape, 1, form));
            }
        }
        match self.options.input {
            InputFormat::Tensor => {
                drafts.exists[self.place(self.input, Form::Single).0] = true;
            }
            InputFormat::Rgba8(normalization) => {
                let mut readers = nodes.iter().filter(|n| n.inputs.contains(&self.input));
                let of_maps = |n: &&Node| self.forms_of(n)[0] == self.maps;
                let form = if readers.any(of_maps) {
                    self.maps
                } else {
                    Form::Single
                };
                let work = Work::Pixels(normalization, form);
                self.add_value(&mut drafts, work, vec![], self.input, form);
            }
        }
        for node in nodes {
            self.add_node(&mut drafts, node)?;
        }
        // The caller's own buffer, or a value that was made for a texture kernel, may be wanted too.
        for &output in self.graph.outputs() {
            if !drafts.exists[self.place(output, Form::Single).0] {
                self.add_conversion(&mut drafts, output, Form::Single);
            }
        }
        Ok(drafts)
    }

    const fn forms_of(&self, node: &Node) -> [Form; 2] {
        choose::forms_of(node, self.maps)
    }

    fn add_node(&self, drafts: &mut Drafts<'a>, node: &'a Node) -> Result<(), Error> {
        let [from, to] = self.forms_of(node);
        for &input in &node.inputs {
            if !drafts.exists[self.place(input, from).0] {
                self.add_conversion(drafts, input, from);
            }
        }
        let reads: Vec<PlaceId> = node.inputs.iter().map(|&v| self.place(v, from)).collect();
        match (&node.op, ConvShape::of(self.graph, node)) {
            (Op::Conv2d(conv), Some(shape)) => {
                self.add_convolution(drafts, (node, conv), &shape, reads)?;
            }
            _ => self.add_value(drafts, Work::Node(node), reads, node.output, to),
        }
        Ok(())
    }

    /// Adds the dispatches of a convolution.
    fn add_convolution(
        &self,
        drafts: &mut Drafts<'a>,
        (node, conv): (&'a Node, &'a Conv2d),
        shape: &ConvShape,
        mut reads: Vec<PlaceId>,
    ) -> Result<(), Error> {
        let candidate = candidate::chosen(shape, self.options)?;
        let [_, to] = self.forms_of(node);
        let work = |stage| Work::Convolution(node, conv, candidate, stage);
        let stages = convolution::stages(candidate, shape.geometry());
        let last = if stages.is_empty() {
            Stage::Whole
        } else {
            Stage::Output
        };
        for (stage, (shape, count)) in stages {
            let write = drafts.new_place(self.size_of(shape, count, to));
            drafts.list.push(Draft {
                work: work(stage),
                reads: vec![reads[0]],
                write,
                in_place: None,
            });
            reads[0] = write;
        }
        self.add_value(drafts, work(last), reads, node.output, to);
        Ok(())
    }

    /// Adds a dispatch that completes a value.
    fn add_value(
        &self,
        drafts: &mut Drafts<'a>,
        work: Work<'a>,
        reads: Vec<PlaceId>,
        value: ValueId,
        form: Form,
    ) {
        let write = self.place(value, form);
        let in_place = match work {
            Work::Convolution(node, ..) => choose::in_place_input(node),
            Work::Node(_) | Work::Pixels(..) | Work::Convert(..) => None,
        };
        drafts.exists[write.0] = true;
        drafts.list.push(Draft {
            work,
            reads,
            write,
            in_place: in_place.map(|v| self.place(v, form)),
        });
        let mut outputs = self.graph.outputs().iter();
        let wanted = outputs.any(|v| self.alias[v.0] == self.alias[value.0]);
        if wanted && form != Form::Single {
            // At once, so that this form need not live until the end. The caller's own tensor lies
            // in a buffer before.
            self.add_conversion(drafts, value, Form::Single);
        }
    }

    fn add_conversion(&self, drafts: &mut Drafts<'a>, value: ValueId, to: Form) {
        let from = match to {
            Form::Single => self.maps,
            Form::Half | Form::Texture => Form::Single,
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
        let kept: Vec<usize> = outputs.map(|&v| self.place(v, Form::Single).0).collect();
        memory::assign(&drafts.sizes, &uses, &kept)
    }

    fn push_draft(&mut self, draft: &Draft<'_>, places: &[BufferId]) -> Result<(), Error> {
        match draft.work {
            Work::Node(node) => {
                let texture_kernel = if self.maps == Form::Texture {
                    choose::texture_kernel_for(self.graph, node)
                } else {
                    None
                };
                match texture_kernel.or_else(|| choose::kernel_for(self.graph, node)) {
                    Some(choice) => self.push_choice(node, choice, draft, places),
                    None => unreachable!("convolutions are drafts of their own"),
                }
            }
            Work::Convolution(node, conv, candidate, stage) => {
                let in_place = draft
                    .in_place
                    .is_some_and(|place| places[place.0] == places[draft.write.0]);
                let convolution = Convolution {
                    graph: self.graph,
                    node,
                    conv,
                    candidate,
                };
                let choice = convolution.choice(stage, in_place);
                self.push_choice(node, choice, draft, places)
            }
            Work::Pixels(normalization, form) => {
                check_normalization(&normalization)?;
                let shape = self.graph.shape(self.input);
                let launch = match form.storage() {
                    Storage::Buffer => image_to_tensor::launch(shape, &normalization),
                    Storage::Texture => image_to_tensor_texture::launch(shape, &normalization),
                };
                let launch = launch.storing(self.precision(form));
                let input_bytes = self.buffers[INPUT_BUFFER.0].bytes;
                let buffers = vec![INPUT_BUFFER, places[draft.write.0]];
                let bytes = input_bytes + packed_bytes(shape, self.precision(form));
                self.push_copy("image_to_tensor", self.input, launch, buffers, bytes)
            }
            Work::Convert(value, to) => {
                let shape = self.graph.shape(value);
                let launch = match (self.maps, to) {
                    (Form::Texture, Form::Single) => texture_to_tensor::launch(shape),
                    (Form::Texture, _) => tensor_to_texture::launch(shape),
                    (_, Form::Single) => widen::launch(shape),
                    _ => narrow::launch(shape),
                };
                let launch = launch.storing(self.options.precision);
                let buffers = vec![places[draft.reads[0].0], places[draft.write.0]];
                let name = launch.kernel.name;
                let bytes = packed_bytes(shape, Precision::F32)
                    + packed_bytes(shape, self.options.precision);
                self.push_copy(name, value, launch, buffers, bytes)
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
        bytes: u64,
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
            bytes,
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
        let Choice {
            launch,
            constants,
            operands,
        } = choice;
        let launch = launch.storing(self.precision_of(node));
        let constants: Vec<BufferId> = constants
            .into_iter()
            .enumerate()
            .map(|(index, (part, constant))| {
                let precision = precision_of_constant(&launch, &operands, index);
                let buffer = self.push_constant(node, part, constant, precision);
                let writable = node.op.as_operation().writable();
                if let Some((role, _)) = writable.filter(|&(_, param)| param == part) {
                    let choices = self.graph.shape(node.inputs[0]).c;
                    self.writables.push(Writable {
                        role,
                        buffer,
                        choices,
                    });
                }
                buffer
            })
            .collect();
        let (multiplies, completes, candidate) = match draft.work {
            Work::Convolution(.., candidate, stage) => {
                (stage.multiplies(), stage.completes(), Some(candidate))
            }
            _ => (true, true, None),
        };
        let mut bytes: u64 = constants.iter().map(|id| self.buffers[id.0].bytes).sum();
        if completes {
            let [from, to] = self.forms_of(node).map(|form| self.precision(form));
            let size = |v: &ValueId, precision| packed_bytes(self.graph.shape(*v), precision);
            bytes += node.inputs.iter().map(|v| size(v, from)).sum::<u64>();
            bytes += size(&node.output, to);
        }
        let buffers = operands.iter().map(|operand| match *operand {
            choose::Operand::Input(index) => places[draft.reads[index].0],
            choose::Operand::Constant(index) => constants[index],
            choose::Operand::Output => places[draft.write.0],
        });
        let step = Step {
            node: node.name.clone(),
            value: self.graph.value(node.output).name.clone(),
            shape: self.graph.shape(node.output),
            choice: candidate,
            launch,
            buffers: buffers.collect(),
            macs: if multiplies {
                self.graph.macs(node)?
            } else {
                0
            },
            bytes,
        };
        self.push(step)
    }

    fn push_constant(
        &mut self,
        node: &Node,
        role: &str,
        constant: Constant,
        precision: Precision,
    ) -> BufferId {
        let scalars = constant.packing.len(&constant.tensors);
        let storage = constant.packing.storage();
        let padded = match storage {
            Storage::Buffer => scalars,
            Storage::Texture => folded_rows(scalars / LANES) * FOLD_ROW_SCALARS,
        };
        self.buffers.push(Buffer {
            name: format!("{}.{role}", node.name),
            bytes: (padded * precision.bytes()) as u64,
            storage,
            precision,
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
                limits.texture_side * buffer.texture_row_bytes(),
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

/// Bytes of a texture for so many bytes of activations: one row of zeros comes first.
fn folded_bytes(bytes: u64, precision: Precision) -> u64 {
    let texels = bytes / (LANES * precision.bytes()) as u64;
    let texels = usize::try_from(texels).unwrap_or(usize::MAX - FOLD_WIDTH);
    (folded_rows(FOLD_WIDTH + texels) * FOLD_ROW_SCALARS * precision.bytes()) as u64
}

/// What the first binding that a constant fills wants; it may also stand in for one that is not read.
fn precision_of_constant(launch: &Launch, operands: &[choose::Operand], index: usize) -> Precision {
    let mut bound = launch.kernel.bindings.iter().zip(operands);
    let fills = |o: &choose::Operand| matches!(o, choose::Operand::Constant(i) if *i == index);
    match bound.find(|(_, operand)| fills(operand)) {
        Some((binding, _)) if binding.stored => launch.precision,
        _ => Precision::F32,
    }
}

/// Whether a node only renames its input: flattening one pixel changes nothing.
fn is_alias(graph: &Graph, node: &Node) -> bool {
    let pixels = |s: Shape| s.h * s.w;
    matches!(node.op, Op::Flatten(_)) && pixels(graph.shape(node.inputs[0])) == 1
}

fn packed_bytes(shape: Shape, precision: Precision) -> u64 {
    (shape.packed_len() * precision.bytes()) as u64
}
