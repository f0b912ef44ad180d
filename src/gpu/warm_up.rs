//! Makes the driver compile pipelines before there is anything for them to run on.
//!
//! llvmpipe compiles a pipeline at its first dispatch, however small: one without workgroups
//! suffices. The kinds of its bindings matter, and whether the sides of its textures are powers of
//! two. Compilation thus happens on its own thread while parameters are packed and uploaded.

use std::collections::HashSet;
#[cfg(not(target_family = "wasm"))]
use std::sync::atomic::{AtomicUsize, Ordering};
#[cfg(not(target_family = "wasm"))]
use std::thread;
#[cfg(not(target_family = "wasm"))]
use std::time::Duration;

use super::Context;
use super::dispatch::{Dispatch, label};
use super::guarded;
use super::pipelines::Pipelines;
#[cfg(not(target_family = "wasm"))]
use super::ready_now;
use super::resources::{Resource, side, texture_format};
#[cfg(not(target_family = "wasm"))]
use crate::clock::Instant;
use crate::error::Error;
use crate::kernels::{Access, Binding, Launch, Precision, Storage};
use crate::tensor::FOLD_WIDTH;

/// Height of a stand-in texture: not a power of two. llvmpipe recompiles a pipeline if the sides of
/// its textures become powers of two, or cease to be; few networks have such heights.
const STAND_IN_ROWS: u32 = 3;

/// llvmpipe takes at least this long to compile a pipeline, and much less to load it from its cache.
#[cfg(not(target_family = "wasm"))]
const COMPILING: Duration = Duration::from_millis(20);

/// Each device starts threads of the driver.
#[cfg(not(target_family = "wasm"))]
const MOST_DEVICES: usize = 8;

/// The first launch of each pipeline.
fn distinct<'l>(launches: impl IntoIterator<Item = &'l Launch>) -> Vec<&'l Launch> {
    let mut seen = HashSet::new();
    let new = |launch: &&Launch| seen.insert(launch.pipeline_key());
    launches.into_iter().filter(new).collect()
}

/// Has a software adapter compile pipelines during `work`; GPU drivers have compiled them when they were made.
///
/// llvmpipe compiles on one thread for each device, and keeps what it compiles in a cache on disk, where other
/// devices find it. Where the first pipeline is not there yet, each core compiles on a device of its own.
pub(super) fn compile_during<'l, T>(
    context: &Context,
    launches: impl IntoIterator<Item = &'l Launch>,
    work: impl FnOnce() -> Result<T, Error>,
) -> Result<T, Error> {
    if context.info.device_type != wgpu::DeviceType::Cpu {
        return work();
    }
    let launches = distinct(launches);
    #[cfg(not(target_family = "wasm"))]
    if context.info.driver == "llvmpipe" {
        return compile_on_devices(context, &launches, work);
    }
    context
        .queue
        .submit([commands(&context.pipelines, &launches)?]);
    work()
}

#[cfg(not(target_family = "wasm"))]
fn compile_on_devices<T>(
    context: &Context,
    launches: &[&Launch],
    work: impl FnOnce() -> Result<T, Error>,
) -> Result<T, Error> {
    let next = AtomicUsize::new(0);
    let compile_next = |context: &Context| -> Result<bool, Error> {
        let Some(&launch) = launches.get(next.fetch_add(1, Ordering::Relaxed)) else {
            return Ok(false);
        };
        context
            .queue
            .submit([commands(&context.pipelines, &[launch])?]);
        context.wait(None)?;
        Ok(true)
    };
    let elsewhere = || -> Result<(), Error> {
        if let Some(Some(other)) = ready_now(context.another()) {
            let other = other?;
            while compile_next(&other)? {}
        }
        Ok(())
    };
    let cores = thread::available_parallelism().map_or(1, usize::from);
    thread::scope(|scope| {
        let here = scope.spawn(|| -> Result<(), Error> {
            let start = Instant::now();
            compile_next(context)?;
            if start.elapsed() >= COMPILING {
                for _ in 1..cores.min(MOST_DEVICES).min(launches.len()) {
                    scope.spawn(|| {
                        if let Err(error) = elsewhere() {
                            log::debug!("compiling on another device: {error}");
                        }
                    });
                }
            }
            while compile_next(context)? {}
            Ok(())
        });
        let done = work();
        if done.is_err() {
            // Nobody needs the others.
            next.store(launches.len(), Ordering::Relaxed);
        }
        match here.join() {
            Ok(compiled) => compiled.and(done),
            Err(panic) => std::panic::resume_unwind(panic),
        }
    })
}

/// Commands that dispatch pipelines without workgroups.
fn commands(pipelines: &Pipelines, launches: &[&Launch]) -> Result<wgpu::CommandBuffer, Error> {
    let device = pipelines.device();
    let mut dispatches = Vec::new();
    for &launch in launches {
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
