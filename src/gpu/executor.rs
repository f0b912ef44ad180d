//! A plan on a device: pipelines, buffers and bind groups are created once, and runs recorded any
//! number of times.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::alive;
use super::dispatch::Dispatch;
use super::helpers::Helpers;
use super::pipelines::{BuildProgress, Pipelines};
use super::resources::{Resource, create_all};
use crate::error::Error;
use crate::graph::{ClassGradient, Role};
use crate::host_memory;
use crate::plan::{AllocationId, InputFormat, OutputKey, Plan, PlannedOutput, Step, Writable};
use crate::tensor::{Shape, Tensor, pack};

/// The id of the next executor.
static NEXT_ID: AtomicU64 = AtomicU64::new(1);

/// A plan on a device.
///
/// Everything is created in [`Executor::new`]; [`Executor::record`] only writes commands into the
/// caller's encoder. Nothing here submits, polls or blocks.
#[derive(Debug)]
pub struct Executor {
    pub(super) id: u64,
    pub(super) dispatches: Arc<[Dispatch]>,
    /// The number of runs started: only the latest run may be continued.
    pub(super) runs: Arc<AtomicU64>,
    pub(super) helpers: Helpers,
    resources: Vec<Resource>,
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
    /// Creates everything that the plan needs on the caller's device. Parameters are written to
    /// buffers that are mapped at creation, or to textures by the queue, whose copies run with the
    /// caller's next submission.
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
        alive(device)?;
        if matches!(
            device.adapter_info().device_type,
            wgpu::DeviceType::Cpu | wgpu::DeviceType::IntegratedGpu
        ) {
            // Such an adapter uses this machine's memory.
            let bytes = plan.allocations().iter().map(|a| a.bytes).sum();
            host_memory::check(&plan.input_shape().batch_in_words(), bytes)?;
        }
        pipelines.make(plan.steps().iter().map(|step| &step.launch), progress)?;
        let total = plan.weight_bytes();
        let mut done = 0;
        let resources = create_all(device, queue, plan.allocations(), |bytes| {
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
        Ok(Self {
            id: NEXT_ID.fetch_add(1, Ordering::Relaxed),
            complete_after: complete_after.collect(),
            writables: plan.writables().to_vec(),
            dispatches: dispatches.into(),
            runs: Arc::default(),
            helpers: Helpers::default(),
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

    /// Finds an output by its name or its role: its shape, and the buffer that contains it,
    /// channel-packed, from the start.
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
        let index = key.find(&self.outputs)?;
        Ok((&self.outputs[index], self.complete_after[index]))
    }

    pub(super) fn buffer(&self, id: AllocationId) -> &wgpu::Buffer {
        match &self.resources[id.0] {
            Resource::Buffer(buffer) => buffer,
            Resource::Texture(_) => unreachable!("the planner keeps what callers see in buffers"),
        }
    }
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
