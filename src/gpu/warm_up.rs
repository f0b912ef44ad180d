//! Makes the driver compile pipelines before there is anything for them to run on.
//!
//! llvmpipe compiles a pipeline at its first dispatch, however small: one without workgroups
//! suffices. The kinds of its bindings matter, and whether the sides of its textures are powers of
//! two. Compilation thus happens on its own thread while parameters are packed and uploaded.

use std::collections::HashSet;
#[cfg(not(target_family = "wasm"))]
use std::thread;

use super::dispatch::{Dispatch, label};
use super::guarded;
use super::pipelines::Pipelines;
use super::resources::{Resource, side, texture_format};
#[cfg(not(target_family = "wasm"))]
use super::{Context, ready_now};
use crate::error::Error;
use crate::kernels::{Access, Binding, Launch, Precision, Storage};
use crate::tensor::FOLD_WIDTH;

/// Height of a stand-in texture: not a power of two. llvmpipe recompiles a pipeline if the sides of
/// its textures become powers of two, or cease to be; few networks have such heights.
const STAND_IN_ROWS: u32 = 3;

/// Commands that dispatch each pipeline without workgroups.
pub(super) fn commands<'l>(
    pipelines: &Pipelines,
    launches: impl IntoIterator<Item = &'l Launch>,
) -> Result<wgpu::CommandBuffer, Error> {
    let device = pipelines.device();
    let mut seen = HashSet::new();
    let mut dispatches = Vec::new();
    for launch in launches {
        if !seen.insert(launch.pipeline_key()) {
            continue;
        }
        let bindings = launch.kernel.bindings.iter();
        let resources = bindings
            .map(|binding| stand_in(device, binding, launch.precision))
            .collect::<Result<Vec<Resource>, Error>>()?;
        let bound = resources.iter().map(Resource::as_binding);
        let pipeline = pipelines.get(launch)?;
        let dispatch = Dispatch::new(device, launch.kernel.name, launch, pipeline, bound)?;
        dispatches.push(dispatch.of_no_workgroup());
    }
    let mut encoder = device.create_command_encoder(&wgpu::CommandEncoderDescriptor {
        label: Some("resnet-wgpu warm-up"),
    });
    {
        let mut pass = encoder.begin_compute_pass(&wgpu::ComputePassDescriptor {
            label: Some("resnet-wgpu warm-up"),
            timestamp_writes: None,
        });
        for dispatch in &dispatches {
            dispatch.record(&mut pass);
        }
    }
    Ok(encoder.finish())
}

/// The compilation of a plan's pipelines on a device of its own, which ends before this is dropped.
#[cfg(not(target_family = "wasm"))]
#[derive(Debug)]
pub struct CompiledAhead(Option<thread::JoinHandle<()>>);

#[cfg(not(target_family = "wasm"))]
impl CompiledAhead {
    /// Starts to compile the pipelines of some launches, in their order, while the device of the context does
    /// something else.
    ///
    /// llvmpipe compiles on one thread for each device, and keeps what it compiles where other devices find it.
    /// With any other driver, or one core, nothing happens.
    pub fn start(context: &Context, launches: Vec<Launch>) -> Self {
        let is_software = context.info.device_type == wgpu::DeviceType::Cpu;
        let cores = thread::available_parallelism().map_or(1, usize::from);
        let Some(adapter) = context.adapter().filter(|_| is_software && cores > 1) else {
            return Self(None);
        };
        let adapter = adapter.clone();
        let compile = move || {
            let features = wgpu::Features::empty();
            let Some(context) = ready_now(Context::new(&adapter, features)) else {
                return Ok(());
            };
            let context = context?;
            let commands = commands(&context.pipelines, &launches)?;
            context.queue.submit([commands]);
            context.wait(None)
        };
        Self(Some(thread::spawn(move || {
            if let Err(error) = compile() {
                log::debug!("compiling ahead: {error}");
            }
        })))
    }
}

#[cfg(not(target_family = "wasm"))]
impl Drop for CompiledAhead {
    fn drop(&mut self) {
        // A panic there has changed nothing here.
        self.0.take().map(thread::JoinHandle::join);
    }
}

/// Creates a minimal resource that fits a binding.
fn stand_in(
    device: &wgpu::Device,
    binding: &Binding,
    precision: Precision,
) -> Result<Resource, Error> {
    let label = label("warm-up");
    guarded(device, "warm-up", || {
        let texture = |usage| {
            let texture = device.create_texture(&wgpu::TextureDescriptor {
                label: Some(&label),
                size: wgpu::Extent3d {
                    width: side(FOLD_WIDTH as u64),
                    height: STAND_IN_ROWS,
                    depth_or_array_layers: 1,
                },
                mip_level_count: 1,
                sample_count: 1,
                dimension: wgpu::TextureDimension::D2,
                format: texture_format(precision),
                usage,
                view_formats: &[],
            });
            Resource::Texture(texture.create_view(&wgpu::TextureViewDescriptor::default()))
        };
        match (binding.storage, binding.access) {
            (Storage::Texture, Access::Sample) => texture(wgpu::TextureUsages::TEXTURE_BINDING),
            (Storage::Texture, _) => texture(wgpu::TextureUsages::STORAGE_BINDING),
            (Storage::Buffer, _) => {
                Resource::Buffer(device.create_buffer(&wgpu::BufferDescriptor {
                    label: Some(&label),
                    size: 256,
                    usage: wgpu::BufferUsages::STORAGE,
                    mapped_at_creation: false,
                }))
            }
        }
    })
}
