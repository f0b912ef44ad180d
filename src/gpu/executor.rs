//! A plan on a device: pipelines, buffers and bind groups are created once, and runs recorded any
//! number of times.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use twox_hash::xxhash3_128;

use super::dispatch::Dispatch;
use super::helpers::Helpers;
use super::pace::estimates;
use super::pipelines::{BuildProgress, Pipelines};
use super::resources::{Resource, Wanted, create_all};
use super::runs::Runs;
use super::{alive, check_room};
use crate::error::Error;
use crate::graph::{ClassGradient, Role};
use crate::plan::{
    AllocationId, Capabilities, Content, InputFormat, OutputKey, Plan, PlannedOutput, Step,
    Writable,
};
use crate::tensor::{Shape, Tensor, pack};

/// The id of the next executor.
static NEXT_ID: AtomicU64 = AtomicU64::new(1);

/// A plan on a device.
///
/// Everything is created in [`Executor::new`]; [`Executor::record`] only writes commands into the
/// caller's encoder. Nothing here polls or blocks, and only building submits, without commands.
#[derive(Debug)]
pub struct Executor {
    pub(super) id: u64,
    pub(super) dispatches: Arc<[Dispatch]>,
    /// The work of each dispatch, compared to the others.
    pub(super) work: Arc<[f64]>,
    /// What was recorded: a split run must be the latest one.
    pub(super) runs: Arc<Runs>,
    pub(super) helpers: Arc<Helpers>,
    pipelines: Pipelines,
    /// Identifies everything about the plan but its weights and names.
    outline: u128,
    resources: Vec<Arc<Resource>>,
    pipeline_count: usize,
    input: AllocationId,
    input_shape: Shape,
    input_format: InputFormat,
    writables: Vec<Writable>,
    outputs: Vec<PlannedOutput>,
    /// For each output, the number of dispatches until it is complete.
    complete_after: Vec<usize>,
}

impl Executor {
    /// Creates everything that the plan needs on the caller's device. Parameters are written by the queue: the
    /// device copies most of them meanwhile, and the rest with the caller's next submission.
    ///
    /// # Errors
    /// [`Error::Gpu`] if the driver rejects a pipeline or a buffer, [`Error::OutOfMemory`] if the
    /// device is full.
    pub fn new(device: &wgpu::Device, queue: &wgpu::Queue, plan: &Plan) -> Result<Self, Error> {
        Self::with_pipelines(
            device,
            queue,
            plan,
            &Pipelines::new(device, None),
            &mut |_| (),
        )
    }

    /// Does what [`Executor::new`] does, with pipelines shared by the executors of a device;
    /// missing ones are added. `progress` is called after every step.
    ///
    /// # Errors
    /// As [`Executor::new`]; also [`Error::Gpu`] for pipelines of another device.
    pub fn with_pipelines(
        device: &wgpu::Device,
        queue: &wgpu::Queue,
        plan: &Plan,
        pipelines: &Pipelines,
        progress: &mut dyn FnMut(BuildProgress),
    ) -> Result<Self, Error> {
        if pipelines.device() != device {
            return Err(Error::Gpu {
                what: "executor".to_owned(),
                reason: "the pipelines are those of another device".to_owned(),
            });
        }
        check_room(device, plan)?;
        Self::build(queue, plan, pipelines, None, progress)
    }

    /// The same executor with other weights: those of a plan of the same layers, sizes and options, such
    /// as the same network trained further. It makes no pipeline and no activation; inputs, outputs,
    /// cursors and readbacks of this executor are those of the new one too. So a host can load weights
    /// in a thread and go on with them in any frame.
    ///
    /// # Errors
    /// [`Error::Recording`] for a plan that differs in more than its weights; otherwise as
    /// [`Executor::new`].
    pub fn with_weights(&self, queue: &wgpu::Queue, plan: &Plan) -> Result<Self, Error> {
        if outline(plan) != self.outline {
            return Err(Error::Recording {
                reason: "the plan differs in more than its weights; build a new executor"
                    .to_owned(),
            });
        }
        Self::build(queue, plan, &self.pipelines, Some(self), &mut |_| ())
    }

    /// Builds everything, except for what does not depend on weights and can be taken from another
    /// executor; there is known to be enough memory.
    pub(super) fn build(
        queue: &wgpu::Queue,
        plan: &Plan,
        pipelines: &Pipelines,
        like: Option<&Self>,
        progress: &mut dyn FnMut(BuildProgress),
    ) -> Result<Self, Error> {
        let device = pipelines.device();
        alive(device)?;
        pipelines.make(plan.steps().iter().map(|step| &step.launch), progress)?;
        let total = plan.weight_bytes();
        let mut done = 0;
        let wanted = wanted(plan, like);
        let parameters = pipelines.parameters();
        let resources = create_all(device, queue, &wanted, parameters, |bytes| {
            done += bytes;
            progress(BuildProgress::Weights { done, total });
        })?;
        let dispatches = plan.steps().iter().map(|step| {
            let pipeline = pipelines.get(&step.launch)?;
            let bound = step
                .allocations
                .iter()
                .map(|id| resources[id.0].as_binding());
            Dispatch::new(device, &step.node, &step.launch, pipeline, bound)
        });
        let dispatches = dispatches.collect::<Result<Vec<Dispatch>, Error>>()?;
        // No other value shares an output's buffer: the last dispatch that writes it completes it.
        let complete_after = plan.outputs().iter().map(|output| {
            let writes = |step: &Step| step.allocations.last() == Some(&output.allocation);
            plan.steps().iter().rposition(writes).map_or(0, |i| i + 1)
        });
        let new_id = || NEXT_ID.fetch_add(1, Ordering::Relaxed);
        Ok(Self {
            id: like.map_or_else(new_id, |like| like.id),
            outline: outline(plan),
            complete_after: complete_after.collect(),
            writables: plan.writables().to_vec(),
            dispatches: dispatches.into(),
            work: estimates(plan, Capabilities::of(device).device.class).collect(),
            runs: match like {
                Some(like) => Arc::clone(&like.runs),
                None => Arc::new(Runs::new(device)?),
            },
            helpers: like
                .map(|like| Arc::clone(&like.helpers))
                .unwrap_or_default(),
            pipelines: pipelines.clone(),
            resources,
            pipeline_count: plan.distinct_pipelines(),
            input: plan.input(),
            input_shape: plan.input_shape(),
            input_format: plan.input_format(),
            outputs: plan.outputs().to_vec(),
        })
    }

    /// The buffer that holds the input: the channel-packed tensor or RGBA8 pixels, depending on the
    /// plan's [`InputFormat`]. The queue may write to it, and commands may copy to it.
    pub fn input(&self) -> &wgpu::Buffer {
        self.buffer(self.input)
    }

    /// The format of the input.
    pub(crate) fn input_format(&self) -> InputFormat {
        self.input_format
    }

    /// The shape of the input tensor.
    pub(crate) fn input_shape(&self) -> Shape {
        self.input_shape
    }

    /// Writes an NCHW tensor to the input.
    ///
    /// # Errors
    /// [`Error::Input`] if the shape is not the plan's, or the plan takes pixels.
    pub fn write_tensor(&self, queue: &wgpu::Queue, tensor: &Tensor) -> Result<(), Error> {
        let fits = self.input_format == InputFormat::Tensor
            && tensor.dims() == self.input_shape.dims().as_slice();
        if !fits {
            return Err(self.input_error(format!("a tensor of sizes {:?}", tensor.dims())));
        }
        let packed = pack(self.input_shape, tensor.data());
        queue.write_buffer(self.input(), 0, bytemuck::cast_slice(&packed));
        Ok(())
    }

    /// Writes RGBA8 pixels, N×H×W×4 bytes, to the input.
    ///
    /// # Errors
    /// [`Error::Input`] if the length is wrong, or the plan takes a tensor.
    pub fn write_pixels(&self, queue: &wgpu::Queue, rgba: &[u8]) -> Result<(), Error> {
        let fits = matches!(self.input_format, InputFormat::Rgba8(_))
            && rgba.len() == self.input_shape.pixels() * 4;
        if !fits {
            return Err(self.input_error(format!("{} bytes of pixels", rgba.len())));
        }
        queue.write_buffer(self.input(), 0, rgba);
        Ok(())
    }

    pub(super) fn input_error(&self, got: String) -> Error {
        let expected = match self.input_format {
            InputFormat::Tensor => format!("{} as a tensor", self.input_shape),
            InputFormat::Rgba8(_) => format!("{} as RGBA8 pixels", self.input_shape),
        };
        Error::Input { expected, got }
    }

    /// Chooses the class of the class activation map for all future runs: a number, or `None` for
    /// the most likely class of each image.
    ///
    /// # Errors
    /// [`Error::Recording`] if the plan has no class activation map, or no such class.
    pub fn select_class(&self, queue: &wgpu::Queue, class: Option<usize>) -> Result<(), Error> {
        let mut writables = self.writables.iter();
        let Some(writable) = writables.find(|writable| writable.role == Role::ClassMap) else {
            return Err(Error::Recording {
                reason: "the plan has no class activation map; add one to the graph".to_owned(),
            });
        };
        if let Some(class) = class
            && class >= writable.choices
        {
            return Err(Error::Recording {
                reason: format!("there is no class {class}, there are {}", writable.choices),
            });
        }
        let value = ClassGradient::choice(class);
        queue.write_buffer(
            self.buffer(writable.allocation),
            0,
            bytemuck::bytes_of(&value),
        );
        Ok(())
    }

    /// Values that can be read after a run, in the order of the graph's outputs.
    pub fn outputs(&self) -> &[PlannedOutput] {
        &self.outputs
    }

    /// Finds an output by its name or its role: its shape, and the buffer that contains it.
    ///
    /// A value of the network becomes an output by [`Graph::mark_output`](crate::graph::Graph::mark_output)
    /// before it is optimised: `graph.mark_output(graph.role(Role::Stage(3)).unwrap())` taps the third
    /// stage. The buffer has the usages `STORAGE` and `COPY_SRC`, so shaders of the host can read it;
    /// [`PlannedOutput::index`] and [`PlannedOutput::wgsl`] say where an element lies. The value has
    /// `shape.packed_len()` numbers from the first byte on; the buffer may have more.
    ///
    /// # Errors
    /// [`Error::UnknownValue`] and [`Error::NoRole`] if the plan keeps no such value.
    pub fn output<'a>(
        &self,
        key: impl Into<OutputKey<'a>>,
    ) -> Result<(&PlannedOutput, &wgpu::Buffer), Error> {
        let (output, _) = self.find_output(&key.into())?;
        Ok((output, self.buffer(output.allocation)))
    }

    /// Finds an output, and the number of dispatches until it is complete.
    pub(super) fn find_output(
        &self,
        key: &OutputKey<'_>,
    ) -> Result<(&PlannedOutput, usize), Error> {
        Ok(self.output_at(key.find(&self.outputs)?))
    }

    /// One of the outputs, and the number of dispatches until it is complete.
    pub(super) fn output_at(&self, index: usize) -> (&PlannedOutput, usize) {
        (&self.outputs[index], self.complete_after[index])
    }

    pub(super) fn buffer(&self, id: AllocationId) -> &wgpu::Buffer {
        match &*self.resources[id.0] {
            Resource::Buffer(buffer) => buffer,
            Resource::Texture(_) => unreachable!("the planner keeps what callers see in buffers"),
        }
    }
}

/// What a plan needs on the device, and what of it an executor of the same outline has.
fn wanted<'a>(plan: &'a Plan, like: Option<&Executor>) -> Vec<Wanted<'a>> {
    let allocations = plan.allocations().iter().enumerate();
    allocations
        .map(|(index, allocation)| {
            let mut writables = plan.writables().iter();
            let writable = writables.any(|writable| writable.allocation.0 == index);
            let keeps = writable || !matches!(allocation.content, Content::Parameters(_));
            Wanted {
                allocation,
                kept: like
                    .filter(|_| keeps)
                    .map(|like| Arc::clone(&like.resources[index])),
                writable,
            }
        })
        .collect()
}

/// Identifies a plan except for its weights and names. Two with the same differ in nothing else.
fn outline(plan: &Plan) -> u128 {
    let steps = plan.steps().iter();
    let steps: Vec<_> = steps.map(|s| (&s.launch, &s.allocations)).collect();
    let allocations = plan.allocations().iter();
    let allocations: Vec<_> = allocations
        .map(|a| (a.bytes, a.storage, a.precision, &a.content))
        .collect();
    let outputs = plan.outputs().iter();
    let outputs: Vec<_> = outputs.map(|o| (&o.roles, o.shape, o.allocation)).collect();
    let input = (plan.input(), plan.input_shape(), plan.input_format());
    let text = format!(
        "{steps:?}{allocations:?}{outputs:?}{input:?}{:?}",
        plan.writables()
    );
    xxhash3_128::Hasher::oneshot(text.as_bytes())
}

#[doc(hidden)]
impl Executor {
    /// The number of dispatches in a run.
    pub fn dispatch_count(&self) -> usize {
        self.dispatches.len()
    }

    /// The number of distinct pipelines in a run.
    pub fn pipeline_count(&self) -> usize {
        self.pipeline_count
    }
}
