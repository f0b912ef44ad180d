//! Makes the driver compile pipelines before there is anything for them to run on.
//!
//! llvmpipe compiles a pipeline at its first dispatch, however small: one without workgroups
//! suffices. The kinds of its bindings matter, and whether the sides of its textures are powers of
//! two. Compilation thus happens on its own thread while parameters are packed and uploaded.

use std::collections::HashSet;

use super::dispatch::{Dispatch, label};
use super::guarded;
use super::pipelines::Pipelines;
use super::resources::{Resource, side, texture_format};
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
