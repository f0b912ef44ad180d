//! Buffers and textures: those of a plan, and small tables for the kernels that work on the host's
//! resources.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use half::f16;
use half::slice::HalfFloatSliceExt;
use twox_hash::xxhash3_128;

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

/// Parameters on a device, by their numbers: whoever packs the same ones gets those that are there.
#[derive(Debug, Default)]
pub(super) struct SharedParameters(Mutex<HashMap<ParametersKey, Weak<Resource>>>);

/// The hash of the numbers, and how they are stored.
type ParametersKey = (u128, u64, Storage, Precision);

impl SharedParameters {
    fn get(&self, key: &ParametersKey) -> Option<Arc<Resource>> {
        self.lock().get(key)?.upgrade()
    }

    fn add(&self, key: ParametersKey, resource: &Arc<Resource>) {
        let mut known = self.lock();
        known.retain(|_, resource| resource.strong_count() > 0);
        known.insert(key, Arc::downgrade(resource));
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<ParametersKey, Weak<Resource>>> {
        // A panic elsewhere leaves whole entries.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// An allocation of a plan, and where its resource comes from.
pub(super) struct Wanted<'a> {
    pub(super) allocation: &'a Allocation,
    /// What is there already.
    pub(super) kept: Option<Arc<Resource>>,
    /// Whether the host may write to it, so that it cannot be shared.
    pub(super) writable: bool,
}

/// Creates the resources of a plan that are not there yet. Parameters are packed on all processors, and
/// `uploaded` is called with the bytes of each.
pub(super) fn create_all(
    device: &wgpu::Device,
    queue: &wgpu::Queue,
    wanted: &[Wanted<'_>],
    shared: &SharedParameters,
    mut uploaded: impl FnMut(u64),
) -> Result<Vec<Arc<Resource>>, Error> {
    let pack = |wanted: &Wanted<'_>| {
        let Allocation {
            content,
            bytes,
            storage,
            precision,
            ..
        } = wanted.allocation;
        Ok(match (content, &wanted.kept) {
            (Content::Parameters(packing), None) => {
                let packed = packing.pack();
                let hash = xxhash3_128::Hasher::oneshot(bytemuck::cast_slice(&packed));
                let key = (hash, *bytes, *storage, *precision);
                (packed, (!wanted.writable).then_some(key))
            }
            _ => (Vec::new(), None),
        })
    };
    let mut resources: Vec<Option<Arc<Resource>>> = wanted.iter().map(|w| w.kept.clone()).collect();
    parallel::for_each(wanted, pack, |index, (packed, key)| {
        let resource = &mut resources[index];
        let allocation = wanted[index].allocation;
        if resource.is_none() {
            *resource = key.as_ref().and_then(|key| shared.get(key));
        }
        if resource.is_none() {
            let created = Arc::new(match allocation.storage {
                Storage::Buffer => Resource::Buffer(create_buffer(device, allocation, &packed)?),
                Storage::Texture => {
                    Resource::Texture(create_texture(device, queue, allocation, packed)?)
                }
            });
            if let Some(key) = key {
                shared.add(key, &created);
            }
            *resource = Some(created);
        }
        if let Content::Parameters(_) = allocation.content {
            uploaded(allocation.bytes);
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

/// A buffer that a kernel reads, filled at once.
pub(super) fn create_table<T: bytemuck::NoUninit>(
    device: &wgpu::Device,
    name: &str,
    table: &[T],
) -> Result<wgpu::Buffer, Error> {
    let buffer = guarded(device, name, || {
        device.create_buffer(&wgpu::BufferDescriptor {
            label: Some(&label(name)),
            size: size_of_val(table) as u64,
            usage: wgpu::BufferUsages::STORAGE
                | wgpu::BufferUsages::COPY_SRC
                | wgpu::BufferUsages::COPY_DST,
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
