//! Turns a graph into dispatches and memory. Kernels and storage of activations are up to the back
//! end.

use super::allocation::{Allocation, AllocationId};
use super::candidate::Candidate;
use super::lower::{BackEnd, Bound, Dispatch, Lowered, Operand, Representation, back_end};
use super::options::{InputFormat, PlanOptions};
use super::projection::projection_of;
use super::{Plan, PlannedOutput, Step, Writable, memory};
use crate::error::Error;
use crate::explain::Sites;
use crate::graph::{Graph, Node, Op, Role, ValueId};
use crate::picture::Normalization;
use crate::tensor::Shape;

/// Plans a graph that has one input.
pub(super) fn plan(graph: &Graph, input: ValueId, options: &PlanOptions) -> Result<Plan, Error> {
    let upload = upload(graph, input, options.input)?;
    let back_end = back_end(options)?;
    let drafts = Drafts::of(graph, input, options, &upload, &*back_end)?;
    Planner {
        graph,
        options,
        allocations: vec![upload],
        writables: Vec::new(),
        steps: Vec::new(),
    }
    .finish(input, drafts)
}

/// The only allocation that exists before memory is planned: the one that the caller fills.
const UPLOAD: AllocationId = AllocationId(0);

fn upload(graph: &Graph, input: ValueId, format: InputFormat) -> Result<Allocation, Error> {
    let shape = graph.shape(input);
    match format {
        InputFormat::Tensor => {
            let name = graph.value(input).name.clone();
            Ok(Allocation::input(name, shape.packed_len() as u64 * 4))
        }
        InputFormat::Rgba8(_) if shape.c != 3 => Err(Error::Model {
            model: "graph".to_owned(),
            reason: format!("RGBA8 input needs a tensor of 3 channels, got {}", shape.c),
        }),
        InputFormat::Rgba8(rules) => {
            rules.check()?;
            let pixels = shape.pixels() as u64;
            Ok(Allocation::input("pixels".to_owned(), pixels * 4))
        }
    }
}

/// Identifies what a dispatch reads or writes: a value in one of its representations, an
/// intermediate result between dispatches of a node, or the caller's upload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct PlaceId(usize);

/// A parameter of a node that may be written between runs.
#[derive(Clone, Copy)]
struct ClassChoice {
    role: Role,
    parameter: &'static str,
    choices: usize,
}

/// A dispatch whose activations have no slots yet.
struct DraftStep<'a> {
    /// The name of the step.
    node: &'a str,
    value: ValueId,
    candidate: Option<Candidate>,
    bound: Bound,
    /// The launch to use if the result takes over the memory of this place.
    in_place: Option<(PlaceId, Bound)>,
    reads: Vec<PlaceId>,
    write: PlaceId,
    macs: u64,
    writable: Option<ClassChoice>,
    /// Size of inputs and output in bytes. If a node has several dispatches, it counts for the one
    /// that completes it.
    traffic: u64,
}

/// A node whose dispatches are known.
struct DraftNode<'a> {
    node: &'a Node,
    inputs: Vec<ValueId>,
    macs: u64,
    lowered: Lowered,
    /// The result of the projection that its dispatches include, which is not computed by itself then.
    folded: Option<ValueId>,
}

impl<'a> DraftNode<'a> {
    fn new(graph: &'a Graph, node: &'a Node, lowered: Lowered) -> Result<Self, Error> {
        let mut draft = Self {
            node,
            inputs: node.inputs.clone(),
            macs: graph.macs(node)?,
            lowered,
            folded: None,
        };
        let projection = projection_of(graph, node).filter(|_| draft.lowered.is_folded);
        if let Some((projection, _)) = projection {
            draft.inputs = vec![node.inputs[0], projection.inputs[0]];
            draft.macs += graph.macs(projection)?;
            draft.folded = Some(projection.output);
        }
        Ok(draft)
    }
}

/// The dispatches so far, and the places they have filled.
struct Drafts<'a> {
    graph: &'a Graph,
    back_end: &'a dyn BackEnd,
    /// For each value, the value whose memory it shares because both have the same elements in the
    /// same order.
    alias: Vec<ValueId>,
    list: Vec<DraftStep<'a>>,
    /// The size of every place.
    sizes: Vec<memory::Footprint>,
    /// Whether a place has been filled.
    exists: Vec<bool>,
}

impl<'a> Drafts<'a> {
    /// All dispatches: those of the nodes, and conversions for kernels or callers that need a value
    /// in another representation.
    fn of(
        graph: &'a Graph,
        input: ValueId,
        options: &PlanOptions,
        upload: &Allocation,
        back_end: &'a dyn BackEnd,
    ) -> Result<Self, Error> {
        let mut drafts = Self {
            graph,
            back_end,
            alias: graph.values().map(|(id, _)| id).collect(),
            list: Vec::new(),
            sizes: Vec::new(),
            exists: Vec::new(),
        };
        for (_, value) in graph.values() {
            for representation in Representation::ALL {
                drafts.new_place(representation, value.shape, 1);
            }
        }
        let mut nodes: Vec<DraftNode<'_>> = Vec::new();
        for node in graph.nodes() {
            if is_alias(graph, node) {
                drafts.alias[node.output.0] = drafts.alias[node.inputs[0].0];
            } else {
                nodes.push(DraftNode::new(graph, node, back_end.lower(graph, node))?);
            }
        }
        let folded: Vec<ValueId> = nodes.iter().filter_map(|draft| draft.folded).collect();
        nodes.retain(|draft| !folded.contains(&draft.node.output));
        match options.input {
            InputFormat::Tensor => {
                let place = drafts.place(input, Representation::Plain);
                drafts.exists[place.0] = true;
            }
            InputFormat::Rgba8(rules) => {
                let mut readers = nodes.iter().filter(|draft| draft.inputs.contains(&input));
                let to = if readers.any(|draft| draft.lowered.from_to[0] == Representation::Native)
                {
                    Representation::Native
                } else {
                    Representation::Plain
                };
                drafts.add_pixels(input, &rules.normalization(), upload.bytes, to);
            }
        }
        for draft in nodes {
            drafts.add_node(draft);
        }
        // The caller may ask for its own input, or for a value in a native representation.
        for &output in graph.outputs() {
            drafts.provide(output, Representation::Plain);
        }
        Ok(drafts)
    }

    /// The place of a value in a representation.
    fn place(&self, value: ValueId, representation: Representation) -> PlaceId {
        let value = self.alias[value.0].0;
        PlaceId(value * Representation::ALL.len() + representation as usize)
    }

    /// A new place for `count` activations of one shape.
    fn new_place(&mut self, representation: Representation, shape: Shape, count: usize) -> PlaceId {
        let native = self.back_end.native();
        self.sizes.push(native.size(representation, shape, count));
        self.exists.push(false);
        PlaceId(self.sizes.len() - 1)
    }

    /// Size in bytes of a value, read or written once.
    fn bytes(&self, value: ValueId, representation: Representation) -> u64 {
        let native = self.back_end.native();
        native
            .size(representation, self.graph.shape(value), 1)
            .bytes
    }

    /// Adds the dispatch that converts pixels to the input tensor.
    fn add_pixels(
        &mut self,
        input: ValueId,
        how: &Normalization,
        pixel_bytes: u64,
        to: Representation,
    ) {
        let shape = self.graph.shape(input);
        // No dispatch fills it, so it gets no slot.
        let pixels = self.new_place(Representation::Plain, shape, 1);
        let launch = self.back_end.pixels(to, shape, how);
        let traffic = pixel_bytes + self.bytes(input, to);
        self.add_copy(
            "image_to_tensor",
            Bound::unary(launch),
            pixels,
            (input, to),
            traffic,
        );
    }

    /// Adds a dispatch that belongs to no node.
    fn add_copy(
        &mut self,
        node: &'static str,
        bound: Bound,
        from: PlaceId,
        (value, to): (ValueId, Representation),
        traffic: u64,
    ) {
        self.list.push(DraftStep {
            node,
            value,
            candidate: None,
            bound,
            in_place: None,
            reads: vec![from],
            write: self.place(value, to),
            macs: 0,
            writable: None,
            traffic,
        });
        self.complete(value, to);
    }

    /// Adds the dispatches of a node.
    fn add_node(&mut self, draft: DraftNode<'a>) {
        let DraftNode {
            node,
            inputs,
            macs,
            lowered,
            folded: _,
        } = draft;
        let Lowered {
            from_to: [from, to],
            precision,
            candidate,
            dispatches,
            is_folded: _,
        } = lowered;
        for &input in &inputs {
            self.provide(input, from);
        }
        let mut reads: Vec<PlaceId> = inputs.iter().map(|&v| self.place(v, from)).collect();
        let replaced = node.op.as_operation().in_place_input();
        let writable = node.op.as_operation().writable();
        let writable = writable.map(|(role, parameter)| ClassChoice {
            role,
            parameter,
            choices: self.graph.shape(node.inputs[0]).c,
        });
        let read = inputs.iter().map(|&v| self.bytes(v, from));
        let traffic = read.sum::<u64>() + self.bytes(node.output, to);
        for dispatch in dispatches {
            let Dispatch {
                bound,
                in_place,
                leaves,
                multiplies,
            } = dispatch;
            let write = match leaves {
                Some((shape, count)) => self.new_place(to, shape, count),
                None => self.place(node.output, to),
            };
            let inputs_read = bound.inputs_read();
            self.list.push(DraftStep {
                node: &node.name,
                value: node.output,
                candidate,
                bound: bound.storing(precision),
                in_place: replaced
                    .zip(in_place)
                    .map(|(input, bound)| (reads[input], bound.storing(precision))),
                reads: reads[..inputs_read].to_vec(),
                write,
                macs: if multiplies { macs } else { 0 },
                writable,
                traffic: if leaves.is_none() { traffic } else { 0 },
            });
            reads[0] = write;
        }
        self.complete(node.output, to);
    }

    /// Records that a value exists, and converts it for the caller at once, so that the native one
    /// need not live until the end.
    fn complete(&mut self, value: ValueId, representation: Representation) {
        let place = self.place(value, representation);
        self.exists[place.0] = true;
        let mut outputs = self.graph.outputs().iter();
        if outputs.any(|v| self.alias[v.0] == self.alias[value.0]) {
            self.provide(value, Representation::Plain);
        }
    }

    /// Converts a value unless that representation already exists.
    fn provide(&mut self, value: ValueId, to: Representation) {
        if self.exists[self.place(value, to).0] {
            return;
        }
        let value = self.alias[value.0];
        let from = match to {
            Representation::Plain => Representation::Native,
            Representation::Native => Representation::Plain,
        };
        let launch = self.back_end.convert(to, self.graph.shape(value));
        let (name, read) = (launch.kernel.name, self.place(value, from));
        let traffic = self.bytes(value, from) + self.bytes(value, to);
        self.add_copy(name, Bound::unary(launch), read, (value, to), traffic);
    }

    fn assign_memory(&self) -> memory::Assignment {
        let uses = self.list.iter().map(|draft| memory::StepUse {
            reads: draft.reads.iter().map(|place| place.0).collect(),
            write: draft.write.0,
            in_place: draft.in_place.as_ref().map(|(place, _)| place.0),
        });
        let uses: Vec<memory::StepUse> = uses.collect();
        let outputs = self.graph.outputs().iter();
        let kept: Vec<usize> = outputs
            .map(|&v| self.place(v, Representation::Plain).0)
            .collect();
        memory::assign(&self.sizes, &uses, &kept)
    }
}

/// Assigns memory and creates the steps, once the dispatches are known.
struct Planner<'a> {
    graph: &'a Graph,
    options: &'a PlanOptions,
    allocations: Vec<Allocation>,
    writables: Vec<Writable>,
    steps: Vec<Step>,
}

impl Planner<'_> {
    fn finish(mut self, input: ValueId, drafts: Drafts<'_>) -> Result<Plan, Error> {
        let assignment = drafts.assign_memory();
        let precision = drafts.back_end.native().precision;
        let first_slot = self.allocations.len();
        for (slot, &size) in assignment.slots.iter().enumerate() {
            let allocation = Allocation::activations(slot, size, precision);
            self.allocations.push(allocation);
        }
        let slots = assignment.slot_of.iter();
        let slots = slots.map(|slot| slot.map_or(UPLOAD, |slot| AllocationId(first_slot + slot)));
        let places: Vec<AllocationId> = slots.collect();
        let outputs = self.graph.outputs().iter().map(|&id| {
            let roles = self.graph.roles().filter(|&(_, value)| value == id);
            Ok(PlannedOutput {
                name: self.graph.value(id).name.clone(),
                roles: roles.map(|(role, _)| role).collect(),
                shape: self.graph.shape(id),
                sites: Sites::of(self.graph, id)?,
                allocation: places[drafts.place(id, Representation::Plain).0],
            })
        });
        let outputs = outputs.collect::<Result<_, Error>>()?;
        for draft in drafts.list {
            self.push(draft, &places)?;
        }
        self.check_sizes()?;
        Ok(Plan {
            outputs,
            writables: self.writables,
            steps: self.steps,
            allocations: self.allocations,
            input: UPLOAD,
            input_shape: self.graph.shape(input),
            input_format: self.options.input,
            activation_lower_bound_bytes: assignment.lower_bound_bytes,
        })
    }

    fn push(&mut self, draft: DraftStep<'_>, places: &[AllocationId]) -> Result<(), Error> {
        let write = places[draft.write.0];
        let bound = match draft.in_place {
            Some((place, bound)) if places[place.0] == write => bound,
            Some(_) | None => draft.bound,
        };
        let mut parameters = Vec::with_capacity(bound.parameters.len());
        for (index, (role, packing)) in bound.parameters.iter().enumerate() {
            let name = format!("{}.{role}", draft.node);
            let precision = bound.precision_of(index, bound.launch.precision);
            let allocation = Allocation::parameters(name, packing.clone(), precision);
            let id = AllocationId(self.allocations.len());
            parameters.push(id);
            if let Some(choice) = draft.writable.filter(|choice| choice.parameter == *role) {
                self.writables.push(Writable {
                    role: choice.role,
                    allocation: id,
                    choices: choice.choices,
                });
            }
            self.allocations.push(allocation);
        }
        let parameter_bytes = parameters.iter().map(|id| self.allocations[id.0].bytes);
        let bytes = draft.traffic + parameter_bytes.sum::<u64>();
        let allocations = bound.operands.iter().map(|operand| match *operand {
            Operand::Input(index) => places[draft.reads[index].0],
            Operand::Parameters(index) => parameters[index],
            Operand::Output => write,
        });
        let step = Step {
            node: draft.node.to_owned(),
            value: self.graph.value(draft.value).name.clone(),
            shape: self.graph.shape(draft.value),
            choice: draft.candidate,
            allocations: allocations.collect(),
            launch: bound.launch,
            macs: draft.macs,
            bytes,
        };
        self.check_workgroups(&step)?;
        self.check_trust(&step)?;
        self.steps.push(step);
        Ok(())
    }

    /// Nothing is computed by a kernel that is known to be wrong.
    fn check_trust(&self, step: &Step) -> Result<(), Error> {
        let kernel = step.launch.kernel.name;
        let wrong = match step.choice {
            Some(choice) if !self.options.trusts(choice) => choice.to_string(),
            _ if !self.options.trusts(kernel) => kernel.to_owned(),
            _ => return Ok(()),
        };
        Err(Error::WrongKernel {
            node: step.node.clone(),
            kernel: wrong,
        })
    }

    fn check_workgroups(&self, step: &Step) -> Result<(), Error> {
        let allowed = self.options.capabilities.workgroups_per_dimension;
        match step.launch.workgroups.iter().find(|&&w| w > allowed) {
            None => Ok(()),
            Some(&needed) => Err(Error::LimitExceeded {
                node: step.node.clone(),
                what: "workgroups in one dimension",
                needed,
                allowed,
                hint: "use a smaller batch or image",
            }),
        }
    }

    fn check_sizes(&self) -> Result<(), Error> {
        for (index, allocation) in self.allocations.iter().enumerate() {
            let (what, allowed) = allocation.limit(&self.options.capabilities);
            if allocation.bytes > allowed {
                let id = AllocationId(index);
                let user = self.steps.iter().find(|s| s.allocations.contains(&id));
                return Err(Error::LimitExceeded {
                    node: user.map_or_else(|| allocation.name.clone(), |s| s.node.clone()),
                    what,
                    needed: allocation.bytes,
                    allowed,
                    hint: "use a smaller batch or image",
                });
            }
        }
        Ok(())
    }
}

/// Whether a node only renames its input: flattening a 1×1 image changes nothing.
fn is_alias(graph: &Graph, node: &Node) -> bool {
    let pixels = |s: Shape| s.h * s.w;
    matches!(node.op, Op::Flatten(_)) && pixels(graph.shape(node.inputs[0])) == 1
}
