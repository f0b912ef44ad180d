//! A plan on a device: pipelines, buffers and bind groups made once, recorded as often as wanted.

use super::guarded;
use super::timing::StepTimer;
use crate::error::Error;
use crate::kernels::{Access, Binding, Kernel, Launch, Storage};
use crate::plan::{Buffer, BufferId, Content, InputFormat, Output, Plan};
use crate::tensor::{FOLD_ROW_BYTES, FOLD_WIDTH, Shape, Tensor, pack};

/// How far the building of an [`Executor`] is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// Bytes of parameters uploaded, of all.
    Weights {
        /// Uploaded so far.
        done: u64,
        /// All.
        total: u64,
    },
    /// Pipelines created, of all.
    Pipelines {
        /// Created so far.
        done: usize,
        /// All.
        total: usize,
    },
}

/// One dispatch, ready to record.
#[derive(Debug)]
struct Dispatch {
    pipeline: wgpu::ComputePipeline,
    bind_group: wgpu::BindGroup,
    immediates: Vec<u8>,
    workgroups: [u32; 3],
}

/// What a buffer of the plan is on the device.
#[derive(Debug)]
enum Resource {
    Buffer(wgpu::Buffer),
    Texture(wgpu::TextureView),
}

impl Resource {
    fn as_binding(&self) -> wgpu::BindingResource<'_> {
        match self {
            Self::Buffer(buffer) => buffer.as_entire_binding(),
            Self::Texture(view) => wgpu::BindingResource::TextureView(view),
        }
    }
}

/// A plan on a device.
///
/// Everything is made in [`Executor::new`]; [`Executor::record`] only writes commands into the
/// caller's encoder. Nothing here submits, polls or blocks.
#[derive(Debug)]
pub struct Executor {
    dispatches: Vec<Dispatch>,
    resources: Vec<Resource>,
    pipeline_count: usize,
    input: BufferId,
    input_shape: Shape,
    input_format: InputFormat,
    outputs: Vec<Output>,
}

impl Executor {
    /// Makes everything that the plan needs on the caller's device. Parameters are written to
    /// buffers that are mapped at creation, or to textures by the queue; the copies run with the
    /// caller's next submission.
    ///
    /// # Errors
    /// [`Error::Gpu`] when the driver rejects a pipeline or a buffer, [`Error::OutOfMemory`] when
    /// the device is full.
    pub fn new(device: &wgpu::Device, queue: &wgpu::Queue, plan: &Plan) -> Result<Self, Error> {
        Self::with_progress(device, queue, plan, &mut |_| ())
    }

    /// [`Executor::new`], telling how far it is.
    ///
    /// # Errors
    /// As [`Executor::new`].
    pub fn with_progress(
        device: &wgpu::Device,
        queue: &wgpu::Queue,
        plan: &Plan,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<Self, Error> {
        let total = plan.weight_bytes();
        let mut done = 0;
        let mut resources = Vec::with_capacity(plan.buffers().len());
        for buffer in plan.buffers() {
            resources.push(match buffer.storage {
                Storage::Buffer => Resource::Buffer(create_buffer(device, buffer)?),
                Storage::Texture => Resource::Texture(create_texture(device, queue, buffer)?),
            });
            if let Content::Constant(_) = buffer.content {
                done += buffer.bytes;
                progress(Progress::Weights { done, total });
            }
        }

        let mut pipelines = Pipelines::new(device, plan.distinct_pipelines());
        let mut dispatches = Vec::with_capacity(plan.steps().len());
        for step in plan.steps() {
            let (pipeline, layout) = pipelines.get(&step.launch, progress)?;
            let entries: Vec<wgpu::BindGroupEntry<'_>> = (0u32..)
                .zip(&step.buffers)
                .map(|(binding, id)| wgpu::BindGroupEntry {
                    binding,
                    resource: resources[id.0].as_binding(),
                })
                .collect();
            let bind_group = guarded(device, &step.node, || {
                device.create_bind_group(&wgpu::BindGroupDescriptor {
                    label: Some(&label(&step.node)),
                    layout: &layout,
                    entries: &entries,
                })
            })?;
            dispatches.push(Dispatch {
                pipeline,
                bind_group,
                immediates: immediates(&step.launch),
                workgroups: workgroups(&step.node, &step.launch)?,
            });
        }
        Ok(Self {
            dispatches,
            resources,
            pipeline_count: pipelines.count(),
            input: plan.input(),
            input_shape: plan.input_shape(),
            input_format: plan.input_format(),
            outputs: plan.outputs().to_vec(),
        })
    }

    /// Records all dispatches in one compute pass. Allocates, submits and polls nothing.
    pub fn record(&self, encoder: &mut wgpu::CommandEncoder) {
        let mut pass = encoder.begin_compute_pass(&wgpu::ComputePassDescriptor {
            label: Some("resnet-wgpu"),
            timestamp_writes: None,
        });
        for dispatch in &self.dispatches {
            dispatch.record(&mut pass);
        }
    }

    /// Records every dispatch in a compute pass of its own, with timestamps around each.
    pub fn record_timed(&self, encoder: &mut wgpu::CommandEncoder, timer: &StepTimer) {
        for (index, dispatch) in self.dispatches.iter().enumerate() {
            let mut pass = encoder.begin_compute_pass(&wgpu::ComputePassDescriptor {
                label: Some("resnet-wgpu"),
                timestamp_writes: timer.writes_of(index),
            });
            dispatch.record(&mut pass);
        }
        timer.resolve(encoder);
    }

    /// Records all dispatches in one compute pass, with timestamps before the first and after the
    /// last one.
    pub fn record_total_timed(&self, encoder: &mut wgpu::CommandEncoder, timer: &StepTimer) {
        {
            let mut pass = encoder.begin_compute_pass(&wgpu::ComputePassDescriptor {
                label: Some("resnet-wgpu"),
                timestamp_writes: timer.writes_of(0),
            });
            for dispatch in &self.dispatches {
                dispatch.record(&mut pass);
            }
        }
        timer.resolve(encoder);
    }

    /// Number of dispatches of a run.
    pub fn dispatch_count(&self) -> usize {
        self.dispatches.len()
    }

    /// Number of pipelines that were created.
    pub fn pipeline_count(&self) -> usize {
        self.pipeline_count
    }

    /// The buffer that holds the input: the channel-packed tensor or RGBA8 pixels, by the plan's
    /// [`InputFormat`]. It may be written by the queue or copied to by commands.
    pub fn input(&self) -> &wgpu::Buffer {
        self.buffer(self.input)
    }

    /// Shape of the input tensor.
    pub fn input_shape(&self) -> Shape {
        self.input_shape
    }

    /// Writes an NCHW tensor to the input.
    ///
    /// # Errors
    /// [`Error::Input`] when the shape is another than the plan's, or the plan wants pixels.
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
    /// [`Error::Input`] when the length is wrong, or the plan wants a tensor.
    pub fn write_pixels(&self, queue: &wgpu::Queue, rgba: &[u8]) -> Result<(), Error> {
        let fits = matches!(self.input_format, InputFormat::Rgba8(_))
            && rgba.len() == self.input_shape.pixels() * 4;
        if !fits {
            return Err(self.input_error(format!("{} bytes of pixels", rgba.len())));
        }
        queue.write_buffer(self.input(), 0, rgba);
        Ok(())
    }

    fn input_error(&self, got: String) -> Error {
        let expected = match self.input_format {
            InputFormat::Tensor => format!("{} as a tensor", self.input_shape),
            InputFormat::Rgba8(_) => format!("{} as RGBA8 pixels", self.input_shape),
        };
        Error::Input { expected, got }
    }

    /// Values that can be read after a run, in the order of the graph's outputs.
    pub fn outputs(&self) -> &[Output] {
        &self.outputs
    }

    /// A value that was marked as an output: its shape, and the buffer in which it lies
    /// channel-packed from the start.
    ///
    /// # Errors
    /// [`Error::UnknownValue`] when the plan did not keep a value of that name.
    pub fn output(&self, name: &str) -> Result<(&Output, &wgpu::Buffer), Error> {
        let output = self
            .outputs
            .iter()
            .find(|o| o.name == name)
            .ok_or_else(|| {
                let names: Vec<&str> = self.outputs.iter().map(|o| o.name.as_str()).collect();
                Error::UnknownValue {
                    name: name.to_owned(),
                    hint: format!(
                        "the plan keeps {}; mark a value as an output of the graph to keep it",
                        names.join(", ")
                    ),
                }
            })?;
        Ok((output, self.buffer(output.buffer)))
    }

    pub(super) fn buffer(&self, id: BufferId) -> &wgpu::Buffer {
        match &self.resources[id.0] {
            Resource::Buffer(buffer) => buffer,
            Resource::Texture(_) => unreachable!("the planner keeps what callers see in buffers"),
        }
    }
}

impl Dispatch {
    fn record(&self, pass: &mut wgpu::ComputePass<'_>) {
        let [x, y, z] = self.workgroups;
        pass.set_pipeline(&self.pipeline);
        pass.set_bind_group(0, &self.bind_group, &[]);
        if !self.immediates.is_empty() {
            pass.set_immediates(0, &self.immediates);
        }
        pass.dispatch_workgroups(x, y, z);
    }
}

/// Labels start with the crate's name so that a host's captures stay legible.
fn label(name: &str) -> String {
    format!("resnet-wgpu {name}")
}

fn workgroups(node: &str, launch: &Launch) -> Result<[u32; 3], Error> {
    let [x, y, z] = launch.workgroups.map(u32::try_from);
    match (x, y, z) {
        (Ok(x), Ok(y), Ok(z)) => Ok([x, y, z]),
        _ => Err(Error::LimitExceeded {
            node: node.to_owned(),
            what: "workgroups in one dimension",
            needed: launch.workgroups.into_iter().max().unwrap_or(0),
            allowed: u32::MAX.into(),
            hint: "use a smaller batch or image",
        }),
    }
}

fn immediates(launch: &Launch) -> Vec<u8> {
    let values = launch.immediates.iter();
    values.flat_map(|(_, value)| value.to_ne_bytes()).collect()
}

/// A folded texture, with the row of zeros that activations start with, or with its parameters.
fn create_texture(
    device: &wgpu::Device,
    queue: &wgpu::Queue,
    buffer: &Buffer,
) -> Result<wgpu::TextureView, Error> {
    let label = label(&buffer.name);
    let size = |rows: u64| wgpu::Extent3d {
        width: side(FOLD_WIDTH as u64),
        height: side(rows),
        depth_or_array_layers: 1,
    };
    let mut texels = match &buffer.content {
        Content::Constant(constant) => constant.packing.pack(&constant.tensors),
        Content::Input | Content::Activations => Vec::new(),
    };
    let row_len = FOLD_ROW_BYTES / size_of::<f32>();
    texels.resize(texels.len().next_multiple_of(row_len).max(row_len), 0.0);
    guarded(device, &buffer.name, || {
        let texture = device.create_texture(&wgpu::TextureDescriptor {
            label: Some(&label),
            size: size(buffer.texture_rows()),
            mip_level_count: 1,
            sample_count: 1,
            dimension: wgpu::TextureDimension::D2,
            format: wgpu::TextureFormat::Rgba32Float,
            usage: wgpu::TextureUsages::STORAGE_BINDING | wgpu::TextureUsages::COPY_DST,
            view_formats: &[],
        });
        queue.write_texture(
            texture.as_image_copy(),
            bytemuck::cast_slice(&texels),
            wgpu::TexelCopyBufferLayout {
                offset: 0,
                bytes_per_row: Some(side(FOLD_ROW_BYTES as u64)),
                rows_per_image: None,
            },
            size((texels.len() / row_len) as u64),
        );
        texture.create_view(&wgpu::TextureViewDescriptor::default())
    })
}

/// A side of a texture: the planner has compared it with the device's limit.
fn side(size: u64) -> u32 {
    u32::try_from(size).unwrap_or(u32::MAX)
}

fn create_buffer(device: &wgpu::Device, buffer: &Buffer) -> Result<wgpu::Buffer, Error> {
    let label = label(&buffer.name);
    let create = |usage, mapped_at_creation| {
        guarded(device, &buffer.name, || {
            device.create_buffer(&wgpu::BufferDescriptor {
                label: Some(&label),
                size: buffer.bytes,
                usage: wgpu::BufferUsages::STORAGE | usage,
                mapped_at_creation,
            })
        })
    };
    match &buffer.content {
        // An input may itself be an output of the graph.
        Content::Input => create(
            wgpu::BufferUsages::COPY_DST | wgpu::BufferUsages::COPY_SRC,
            false,
        ),
        Content::Activations => create(wgpu::BufferUsages::COPY_SRC, false),
        Content::Constant(constant) => {
            let created = create(wgpu::BufferUsages::empty(), true)?;
            let packed = constant.packing.pack(&constant.tensors);
            let mut mapped = created
                .get_mapped_range_mut(..)
                .map_err(|error| Error::Gpu {
                    what: buffer.name.clone(),
                    reason: error.to_string(),
                })?;
            mapped.copy_from_slice(bytemuck::cast_slice(&packed));
            drop(mapped);
            created.unmap();
            Ok(created)
        }
    }
}

/// A module without the run-time checks that cost a fifth of a kernel's instructions.
#[expect(
    unsafe_code,
    reason = "create_shader_module_trusted is the only way to leave out the checks"
)]
fn create_module(
    device: &wgpu::Device,
    descriptor: wgpu::ShaderModuleDescriptor<'_>,
) -> wgpu::ShaderModule {
    // SAFETY: only this crate's own kernels come here. Each proves by its own edge tests that it
    // stays within its buffers and textures, whose sizes the planner derives from the same shapes;
    // all loops end: their bounds are constants or immediates. The tests run every kernel over
    // ragged shapes.
    unsafe {
        device.create_shader_module_trusted(descriptor, wgpu::ShaderRuntimeChecks::unchecked())
    }
}

fn binding_type(binding: &Binding) -> wgpu::BindingType {
    match binding.storage {
        Storage::Buffer => wgpu::BindingType::Buffer {
            ty: wgpu::BufferBindingType::Storage {
                read_only: binding.access == Access::Read,
            },
            has_dynamic_offset: false,
            min_binding_size: None,
        },
        Storage::Texture => wgpu::BindingType::StorageTexture {
            access: match binding.access {
                Access::Read => wgpu::StorageTextureAccess::ReadOnly,
                Access::Write => wgpu::StorageTextureAccess::WriteOnly,
                Access::ReadWrite => wgpu::StorageTextureAccess::ReadWrite,
            },
            format: wgpu::TextureFormat::Rgba32Float,
            view_dimension: wgpu::TextureViewDimension::D2,
        },
    }
}

/// Pipelines by kernel and constants: a pure function of the launch, made once each.
struct Pipelines<'a> {
    device: &'a wgpu::Device,
    total: usize,
    made: Vec<(Launch, wgpu::ComputePipeline)>,
    layouts: Vec<(&'static str, wgpu::BindGroupLayout, wgpu::PipelineLayout)>,
    modules: Vec<(Launch, wgpu::ShaderModule)>,
}

impl<'a> Pipelines<'a> {
    fn new(device: &'a wgpu::Device, total: usize) -> Self {
        Self {
            device,
            total,
            made: Vec::new(),
            layouts: Vec::new(),
            modules: Vec::new(),
        }
    }

    fn count(&self) -> usize {
        self.made.len()
    }

    fn get(
        &mut self,
        launch: &Launch,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<(wgpu::ComputePipeline, wgpu::BindGroupLayout), Error> {
        let (bind_group_layout, layout) = self.layouts_of(launch)?;
        if let Some((_, pipeline)) = self
            .made
            .iter()
            .find(|(made, _)| made.same_pipeline(launch))
        {
            return Ok((pipeline.clone(), bind_group_layout));
        }
        let module = self.module_of(launch)?;
        let label = label(launch.kernel.name);
        let pipeline = guarded(self.device, launch.kernel.name, || {
            self.device
                .create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
                    label: Some(&label),
                    layout: Some(&layout),
                    module: &module,
                    entry_point: Some("main"),
                    compilation_options: wgpu::PipelineCompilationOptions {
                        constants: &launch.overrides,
                        // Every kernel writes its workgroup memory before it reads it.
                        zero_initialize_workgroup_memory: false,
                    },
                    cache: None,
                })
        })?;
        self.made.push((launch.clone(), pipeline.clone()));
        progress(Progress::Pipelines {
            done: self.made.len(),
            total: self.total,
        });
        Ok((pipeline, bind_group_layout))
    }

    fn module_of(&mut self, launch: &Launch) -> Result<wgpu::ShaderModule, Error> {
        let same =
            |made: &Launch| made.kernel.name == launch.kernel.name && made.tile == launch.tile;
        if let Some((_, module)) = self.modules.iter().find(|(made, _)| same(made)) {
            return Ok(module.clone());
        }
        let source = launch.source()?;
        let label = label(launch.kernel.name);
        let module = guarded(self.device, launch.kernel.name, || {
            let descriptor = wgpu::ShaderModuleDescriptor {
                label: Some(&label),
                source: wgpu::ShaderSource::Wgsl(source),
            };
            create_module(self.device, descriptor)
        })?;
        self.modules.push((launch.clone(), module.clone()));
        Ok(module)
    }

    fn layouts_of(
        &mut self,
        launch: &Launch,
    ) -> Result<(wgpu::BindGroupLayout, wgpu::PipelineLayout), Error> {
        let kernel: &'static Kernel = launch.kernel;
        if let Some((_, group, layout)) =
            self.layouts.iter().find(|(name, ..)| *name == kernel.name)
        {
            return Ok((group.clone(), layout.clone()));
        }
        let entries: Vec<wgpu::BindGroupLayoutEntry> = (0u32..)
            .zip(kernel.bindings)
            .map(|(binding, declared)| wgpu::BindGroupLayoutEntry {
                binding,
                visibility: wgpu::ShaderStages::COMPUTE,
                ty: binding_type(declared),
                count: None,
            })
            .collect();
        let label = label(kernel.name);
        let (group, layout) = guarded(self.device, kernel.name, || {
            let group = self
                .device
                .create_bind_group_layout(&wgpu::BindGroupLayoutDescriptor {
                    label: Some(&label),
                    entries: &entries,
                });
            let layout = self
                .device
                .create_pipeline_layout(&wgpu::PipelineLayoutDescriptor {
                    label: Some(&label),
                    bind_group_layouts: &[Some(&group)],
                    immediate_size: side(immediates(launch).len() as u64),
                });
            (group, layout)
        })?;
        self.layouts
            .push((kernel.name, group.clone(), layout.clone()));
        Ok((group, layout))
    }
}
