//! Pipelines by kernel and constants: made once each, whoever dispatches them.

use super::dispatch::{immediates, label};
use super::guarded;
use super::resources::{side, texture_format};
use crate::error::Error;
use crate::kernels::{Access, Binding, Kernel, Launch, Precision, Storage};

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
                // Nothing is interpolated, so that 32-bit floats will do.
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

/// What a layout depends on: the kernel, and the format of its textures.
type LayoutKey = (&'static str, Precision);

/// Pipelines by kernel and constants: a pure function of the launch, made once each.
pub(super) struct Pipelines<'a> {
    device: &'a wgpu::Device,
    total: usize,
    made: Vec<(Launch, wgpu::ComputePipeline)>,
    layouts: Vec<(LayoutKey, wgpu::BindGroupLayout, wgpu::PipelineLayout)>,
    modules: Vec<(Launch, wgpu::ShaderModule)>,
}

impl<'a> Pipelines<'a> {
    pub(super) fn new(device: &'a wgpu::Device, total: usize) -> Self {
        Self {
            device,
            total,
            made: Vec::new(),
            layouts: Vec::new(),
            modules: Vec::new(),
        }
    }

    pub(super) fn count(&self) -> usize {
        self.made.len()
    }

    pub(super) fn get(
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
        let mut modules = self.modules.iter();
        if let Some((_, module)) = modules.find(|(made, _)| made.same_module(launch)) {
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
        let key = (kernel.name, launch.precision);
        if let Some((_, group, layout)) = self.layouts.iter().find(|(made, ..)| *made == key) {
            return Ok((group.clone(), layout.clone()));
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
        self.layouts.push((key, group.clone(), layout.clone()));
        Ok((group, layout))
    }
}
