//! Pipelines by kernel and constants, each created only once.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::dispatch::{immediates, label};
use super::resources::{SharedParameters, side, texture_format};
use super::{guarded, parallel};
use crate::error::Error;
use crate::kernels::{Access, Binding, Kernel, Launch, ModuleKey, PipelineKey, Precision, Storage};
use crate::plan::PlanOptions;

/// The progress of building an [`Executor`](super::Executor).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum BuildProgress {
    /// Bytes of parameters uploaded, out of all.
    Weights {
        /// The bytes uploaded so far.
        done: u64,
        /// The total.
        total: u64,
    },
    /// Pipelines created, out of all.
    Pipelines {
        /// The pipelines created so far.
        done: usize,
        /// The total.
        total: usize,
    },
}

/// A shader module without run-time checks, which cost a fifth of a kernel's instructions.
#[expect(
    unsafe_code,
    reason = "create_shader_module_trusted is the only way to leave out the checks"
)]
fn create_module(
    device: &wgpu::Device,
    descriptor: wgpu::ShaderModuleDescriptor<'_>,
) -> wgpu::ShaderModule {
    // SAFETY: only this crate's own kernels get here. The edge tests in each of them keep it within
    // its buffers and textures, whose sizes the planner derives from the same shapes, and all loops
    // end, because their bounds are constants or immediates. The tests run every kernel over ragged
    // shapes.
    unsafe {
        device.create_shader_module_trusted(descriptor, wgpu::ShaderRuntimeChecks::unchecked())
    }
}

fn binding_type(binding: &Binding, precision: Precision) -> wgpu::BindingType {
    match binding.storage {
        Storage::Buffer => wgpu::BindingType::Buffer {
            ty: wgpu::BufferBindingType::Storage {
                read_only: binding.access == Access::Read,
            },
            has_dynamic_offset: false,
            min_binding_size: None,
        },
        Storage::Texture => match binding.access {
            Access::Read => storage_texture(wgpu::StorageTextureAccess::ReadOnly, precision),
            Access::Write => storage_texture(wgpu::StorageTextureAccess::WriteOnly, precision),
            Access::ReadWrite => storage_texture(wgpu::StorageTextureAccess::ReadWrite, precision),
            Access::Sample => wgpu::BindingType::Texture {
                // Texels are only loaded, never interpolated, so 32-bit floats are allowed.
                sample_type: wgpu::TextureSampleType::Float { filterable: false },
                view_dimension: wgpu::TextureViewDimension::D2,
                multisampled: false,
            },
        },
    }
}

const fn storage_texture(
    access: wgpu::StorageTextureAccess,
    precision: Precision,
) -> wgpu::BindingType {
    wgpu::BindingType::StorageTexture {
        access,
        format: texture_format(precision),
        view_dimension: wgpu::TextureViewDimension::D2,
    }
}

impl PlanOptions {
    /// Prefers kernels that read the weights which executors with these pipelines have on the device in the
    /// order in which they lie there: of another size or batch a layer may else have a faster one, which reads
    /// a copy of them in an order of its own. What is not there yet is planned as without.
    ///
    /// The plan is made for what is there now. Executors that were built in the same order have the same plans.
    #[must_use]
    pub fn sharing(self, pipelines: &Pipelines) -> Self {
        self.share(pipelines.parameters().keys())
    }
}

/// Identifies a bind group layout: the kernel, and the format of its textures.
type LayoutKey = (&'static str, Precision);

/// The pipelines and the parameters of a device, each created once, for all executors built with them.
///
/// A pipeline is a pure function of a launch: executors of equal layers share it. Parameters are known
/// by their numbers: executors of one network for other sizes, batches or outputs share those that
/// their kernels read in the same order, without a copy or an upload, and with
/// [`PlanOptions::sharing`] kernels are chosen so that these are all. They are freed with the last
/// executor that uses them. Clones share everything.
#[derive(Clone, Debug)]
pub struct Pipelines {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    device: wgpu::Device,
    cache: Option<wgpu::PipelineCache>,
    made: Mutex<Made>,
    parameters: SharedParameters,
}

#[derive(Debug, Default)]
struct Made {
    layouts: HashMap<LayoutKey, Layouts>,
    modules: HashMap<ModuleKey, wgpu::ShaderModule>,
    pipelines: HashMap<PipelineKey, wgpu::ComputePipeline>,
    /// What a text is replaced by: kernel, old, new.
    faults: Vec<[&'static str; 3]>,
}

#[derive(Clone, Debug)]
struct Layouts {
    group: wgpu::BindGroupLayout,
    pipeline: wgpu::PipelineLayout,
}

impl Pipelines {
    /// Starts without pipelines. If the host has a pipeline cache, the driver finds in it what it
    /// compiled earlier.
    pub fn new(device: &wgpu::Device, cache: Option<wgpu::PipelineCache>) -> Self {
        Self {
            shared: Arc::new(Shared {
                device: device.clone(),
                cache,
                made: Mutex::default(),
                parameters: SharedParameters::default(),
            }),
        }
    }

    pub(super) fn device(&self) -> &wgpu::Device {
        &self.shared.device
    }

    pub(super) fn parameters(&self) -> &SharedParameters {
        &self.shared.parameters
    }

    /// Creates the missing pipelines of some launches, on all processors.
    pub(super) fn make<'l>(
        &self,
        launches: impl IntoIterator<Item = &'l Launch>,
        progress: &mut dyn FnMut(BuildProgress),
    ) -> Result<(), Error> {
        let mut missing: HashMap<PipelineKey, &Launch> = HashMap::new();
        let mut total = HashSet::new();
        for launch in launches {
            let key = launch.pipeline_key();
            total.insert(key.clone());
            if !self.made().pipelines.contains_key(&key) {
                missing.entry(key).or_insert(launch);
            }
        }
        let total = total.len();
        let missing: Vec<&Launch> = missing.into_values().collect();
        let mut done = total - missing.len();
        let make = |launch: &&Launch| self.get(launch).map(drop);
        parallel::for_each(&missing, make, |_, ()| {
            done += 1;
            progress(BuildProgress::Pipelines { done, total });
            Ok(())
        })
    }

    /// The pipeline of a launch and the layout of its bind group.
    pub(super) fn get(
        &self,
        launch: &Launch,
    ) -> Result<(wgpu::ComputePipeline, wgpu::BindGroupLayout), Error> {
        let layouts = self.layouts_of(launch)?;
        let key = launch.pipeline_key();
        if let Some(pipeline) = self.made().pipelines.get(&key) {
            return Ok((pipeline.clone(), layouts.group));
        }
        let module = self.module_of(launch)?;
        let label = label(launch.kernel.name);
        let device = self.device();
        // Without holding the lock, because this takes time.
        let pipeline = guarded(device, launch.kernel.name, || {
            device.create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
                label: Some(&label),
                layout: Some(&layouts.pipeline),
                module: &module,
                entry_point: Some("main"),
                compilation_options: wgpu::PipelineCompilationOptions {
                    constants: &launch.overrides,
                    // Every kernel writes its workgroup memory before it reads it.
                    zero_initialize_workgroup_memory: false,
                },
                cache: self.shared.cache.as_ref(),
            })
        })?;
        // Another thread may have been faster; all use the pipeline that was stored first.
        let pipeline = self.made().pipelines.entry(key).or_insert(pipeline).clone();
        Ok((pipeline, layouts.group))
    }

    /// The existing objects. A thread that panicked cannot have left an incomplete entry.
    fn made(&self) -> MutexGuard<'_, Made> {
        let made = self.shared.made.lock();
        made.unwrap_or_else(PoisonError::into_inner)
    }

    fn module_of(&self, launch: &Launch) -> Result<wgpu::ShaderModule, Error> {
        let key = launch.module_key();
        if let Some(module) = self.made().modules.get(&key) {
            return Ok(module.clone());
        }
        let mut source = launch.source()?;
        for [kernel, old, new] in &self.made().faults {
            if *kernel == launch.kernel.name {
                source = source.replace(old, new).into();
            }
        }
        let label = label(launch.kernel.name);
        let module = guarded(self.device(), launch.kernel.name, || {
            let descriptor = wgpu::ShaderModuleDescriptor {
                label: Some(&label),
                source: wgpu::ShaderSource::Wgsl(source),
            };
            let bindings = launch.kernel.bindings;
            if bindings.iter().any(|b| b.access == Access::Sample) {
                // The size of a host's view is unknown, so reads outside it must be prevented.
                self.device().create_shader_module(descriptor)
            } else {
                create_module(self.device(), descriptor)
            }
        })?;
        Ok(self.made().modules.entry(key).or_insert(module).clone())
    }

    fn layouts_of(&self, launch: &Launch) -> Result<Layouts, Error> {
        let kernel: &'static Kernel = launch.kernel;
        let key = (kernel.name, launch.precision);
        if let Some(layouts) = self.made().layouts.get(&key) {
            return Ok(layouts.clone());
        }
        let entries: Vec<wgpu::BindGroupLayoutEntry> = (0u32..)
            .zip(kernel.bindings)
            .map(|(binding, declared)| wgpu::BindGroupLayoutEntry {
                binding,
                visibility: wgpu::ShaderStages::COMPUTE,
                ty: binding_type(declared, launch.precision),
                count: None,
            })
            .collect();
        let label = label(kernel.name);
        let device = self.device();
        let layouts = guarded(device, kernel.name, || {
            let group = device.create_bind_group_layout(&wgpu::BindGroupLayoutDescriptor {
                label: Some(&label),
                entries: &entries,
            });
            let pipeline = device.create_pipeline_layout(&wgpu::PipelineLayoutDescriptor {
                label: Some(&label),
                bind_group_layouts: &[Some(&group)],
                immediate_size: side(immediates(launch).len() as u64),
            });
            Layouts { group, pipeline }
        })?;
        let mut made = self.made();
        Ok(made.layouts.entry(key).or_insert(layouts).clone())
    }
}

#[doc(hidden)]
impl Pipelines {
    /// Makes a kernel wrong, as a driver would, by other words in its text: for tests of what finds that.
    pub fn spoil(&self, kernel: &'static str, old: &'static str, new: &'static str) {
        self.made().faults.push([kernel, old, new]);
    }

    /// The number of pipelines so far.
    pub fn count(&self) -> usize {
        self.made().pipelines.len()
    }
}
