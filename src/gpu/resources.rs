//! Buffers and textures: those of a plan, and small tables for the kernels that work on the host's
//! resources.

use std::borrow::Cow;

use half::f16;
use half::slice::HalfFloatSliceExt;

use super::dispatch::label;
use super::{guarded, parallel};
use crate::error::Error;
use crate::kernels::{Precision, Storage};
use crate::plan::{Allocation, Content};
use crate::tensor::{FOLD_ROW_SCALARS, FOLD_WIDTH};

/// An allocation of the plan, on the device.
#[derive(Debug)]
pub(super) enum Resource {
    Buffer(wgpu::Buffer),
    Texture(wgpu::TextureView),
}

impl Resource {
    pub(super) fn as_binding(&self) -> wgpu::BindingResource<'_> {
        match self {
            Self::Buffer(buffer) => buffer.as_entire_binding(),
            Self::Texture(view) => wgpu::BindingResource::TextureView(view),
        }
    }
}

/// Creates the resources of a plan. Parameters are packed on all processors; `uploaded` is called
/// with the size of each in bytes.
pub(super) fn create_all(
    device: &wgpu::Device,
    queue: &wgpu::Queue,
    buffers: &[Allocation],
    mut uploaded: impl FnMut(u64),
) -> Result<Vec<Resource>, Error> {
    let pack = |buffer: &Allocation| {
        Ok(match &buffer.content {
            Content::Parameters(packing) => packing.pack(),
            Content::Input | Content::Activations => Vec::new(),
        })
    };
    let mut resources: Vec<Option<Resource>> = buffers.iter().map(|_| None).collect();
    parallel::for_each(buffers, pack, |index, packed| {
        let buffer = &buffers[index];
        resources[index] = Some(match buffer.storage {
            Storage::Buffer => Resource::Buffer(create_buffer(device, buffer, &packed)?),
            Storage::Texture => Resource::Texture(create_texture(device, queue, buffer, packed)?),
        });
        if let Content::Parameters(_) = buffer.content {
            uploaded(buffer.bytes);
        }
        Ok(())
    })?;
    Ok(resources.into_iter().flatten().collect())
}

/// Creates a folded texture: with a row of zeros, for activations, or with its parameters.
fn create_texture(
    device: &wgpu::Device,
    queue: &wgpu::Queue,
    buffer: &Allocation,
    mut scalars: Vec<f32>,
) -> Result<wgpu::TextureView, Error> {
    let label = label(&buffer.name);
    let size = |rows: u64| wgpu::Extent3d {
        width: side(FOLD_WIDTH as u64),
        height: side(rows),
        depth_or_array_layers: 1,
    };
    let rows = scalars.len().div_ceil(FOLD_ROW_SCALARS).max(1);
    scalars.resize(rows * FOLD_ROW_SCALARS, 0.0);
    let texels = encoded(&scalars, buffer.precision);
    guarded(device, &buffer.name, || {
        let texture = device.create_texture(&wgpu::TextureDescriptor {
            label: Some(&label),
            size: size(buffer.texture_rows()),
            mip_level_count: 1,
            sample_count: 1,
            dimension: wgpu::TextureDimension::D2,
            format: texture_format(buffer.precision),
            usage: wgpu::TextureUsages::STORAGE_BINDING
                | wgpu::TextureUsages::TEXTURE_BINDING
                | wgpu::TextureUsages::COPY_DST,
            view_formats: &[],
        });
        queue.write_texture(
            texture.as_image_copy(),
            &texels,
            wgpu::TexelCopyBufferLayout {
                offset: 0,
                bytes_per_row: Some(side(buffer.texture_row_bytes())),
                rows_per_image: None,
            },
            size(rows as u64),
        );
        texture.create_view(&wgpu::TextureViewDescriptor::default())
    })
}

/// Encodes numbers in their storage precision, in the machine's byte order.
fn encoded(scalars: &[f32], precision: Precision) -> Cow<'_, [u8]> {
    match precision {
        Precision::F32 => Cow::Borrowed(bytemuck::cast_slice(scalars)),
        Precision::F16 => {
            let mut halves = vec![f16::ZERO; scalars.len()];
            halves.convert_from_f32_slice(scalars);
            Cow::Owned(bytemuck::cast_slice(halves.reinterpret_cast()).to_vec())
        }
    }
}

/// The texture format of activations and weights.
pub(super) const fn texture_format(precision: Precision) -> wgpu::TextureFormat {
    match precision {
        Precision::F32 => wgpu::TextureFormat::Rgba32Float,
        Precision::F16 => wgpu::TextureFormat::Rgba16Float,
    }
}

/// A side of a texture, which the planner has checked against the device's limit.
pub(super) fn side(size: u64) -> u32 {
    u32::try_from(size).unwrap_or(u32::MAX)
}

fn create_buffer(
    device: &wgpu::Device,
    buffer: &Allocation,
    packed: &[f32],
) -> Result<wgpu::Buffer, Error> {
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
        Content::Parameters(_) => {
            // The host may choose another class between runs.
            let created = create(wgpu::BufferUsages::COPY_DST, true)?;
            let mut mapped = created
                .get_mapped_range_mut(..)
                .map_err(|error| Error::Gpu {
                    what: buffer.name.clone(),
                    reason: error.to_string(),
                })?;
            mapped.copy_from_slice(&encoded(packed, buffer.precision));
            drop(mapped);
            created.unmap();
            Ok(created)
        }
    }
}

/// A buffer that a kernel reads and nothing writes again.
pub(super) fn create_table<T: bytemuck::NoUninit>(
    device: &wgpu::Device,
    name: &str,
    table: &[T],
) -> Result<wgpu::Buffer, Error> {
    let buffer = guarded(device, name, || {
        device.create_buffer(&wgpu::BufferDescriptor {
            label: Some(&label(name)),
            size: size_of_val(table) as u64,
            usage: wgpu::BufferUsages::STORAGE,
            mapped_at_creation: true,
        })
    })?;
    let mut mapped = buffer
        .get_mapped_range_mut(..)
        .map_err(|error| Error::Gpu {
            what: name.to_owned(),
            reason: error.to_string(),
        })?;
    mapped.copy_from_slice(bytemuck::cast_slice(table));
    drop(mapped);
    buffer.unmap();
    Ok(buffer)
}

/// A buffer that kernels write and read.
pub(super) fn create_scratch(
    device: &wgpu::Device,
    name: &str,
    bytes: u64,
    usage: wgpu::BufferUsages,
) -> Result<wgpu::Buffer, Error> {
    guarded(device, name, || {
        device.create_buffer(&wgpu::BufferDescriptor {
            label: Some(&label(name)),
            size: bytes,
            usage: wgpu::BufferUsages::STORAGE | usage,
            mapped_at_creation: false,
        })
    })
}
