//! Buffers and textures: those of a plan, and small tables for the kernels that work on the host's
//! resources.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};

use half::f16;
use half::slice::HalfFloatSliceExt;

use super::dispatch::label;
use super::{guarded, parallel};
use crate::error::Error;
use crate::kernels::{Packing, Piece, Precision, Storage};
use crate::plan::{Allocation, Content, ParametersKey};
use crate::tensor::{FOLD_ROW_SCALARS, FOLD_WIDTH, LANES, folded_rows};

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

/// Parameters on a device: whoever needs the same ones in the same layout gets those that are there.
#[derive(Debug, Default)]
pub(super) struct SharedParameters(Mutex<HashMap<ParametersKey, Weak<Resource>>>);

impl SharedParameters {
    fn get(&self, key: &ParametersKey) -> Option<Arc<Resource>> {
        self.lock().get(key)?.upgrade()
    }

    /// Those that are there.
    pub(super) fn keys(&self) -> HashSet<ParametersKey> {
        let known = self.lock();
        let alive = known.iter().filter(|(_, weak)| weak.strong_count() > 0);
        alive.map(|(key, _)| *key).collect()
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
    let upload = Upload::new(device, queue);
    let create = |wanted: &Wanted<'_>| {
        let Wanted {
            allocation,
            kept,
            writable,
        } = wanted;
        if let Some(kept) = kept {
            return Ok(Arc::clone(kept));
        }
        let Content::Parameters(packing) = &allocation.content else {
            return upload.activations(allocation).map(Arc::new);
        };
        let key = allocation.parameters_key().filter(|_| !writable);
        if let Some(resource) = key.and_then(|key| shared.get(&key)) {
            return Ok(resource);
        }
        let resource = Arc::new(upload.parameters(allocation, packing)?);
        if let Some(key) = key {
            shared.add(key, &resource);
        }
        Ok(resource)
    };
    let mut resources: Vec<Option<Arc<Resource>>> = vec![None; wanted.len()];
    parallel::for_each(wanted, create, |index, resource| {
        resources[index] = Some(resource);
        let allocation = wanted[index].allocation;
        if let Content::Parameters(_) = allocation.content {
            uploaded(allocation.bytes);
        }
        Ok(())
    })?;
    Ok(resources.into_iter().flatten().collect())
}

/// Writes to a device, in pieces: neither packed weights nor wgpu's copies of them pile up on the host.
struct Upload<'a> {
    device: &'a wgpu::Device,
    queue: &'a wgpu::Queue,
    /// Bytes that were written since the last submission.
    staged: AtomicU64,
    held: Budget,
}

/// Bytes of weights that may wait in wgpu's staging memory for a submission.
const STAGED: u64 = 2 << 20;

impl<'a> Upload<'a> {
    fn new(device: &'a wgpu::Device, queue: &'a wgpu::Queue) -> Self {
        Self {
            device,
            queue,
            staged: AtomicU64::new(0),
            held: Budget::default(),
        }
    }

    /// An input, or activations: a texture of those begins with a row of zeros.
    fn activations(&self, allocation: &Allocation) -> Result<Resource, Error> {
        match (allocation.storage, &allocation.content) {
            // An input may itself be an output of the graph.
            (Storage::Buffer, Content::Input) => {
                let usage = wgpu::BufferUsages::COPY_DST | wgpu::BufferUsages::COPY_SRC;
                self.buffer(allocation, usage).map(Resource::Buffer)
            }
            (Storage::Buffer, _) => self
                .buffer(allocation, wgpu::BufferUsages::COPY_SRC)
                .map(Resource::Buffer),
            (Storage::Texture, _) => {
                let texture = self.texture(allocation)?;
                self.write_texels(&texture, allocation, 0, &[0.0; FOLD_ROW_SCALARS])?;
                Ok(view(&texture))
            }
        }
    }

    fn parameters(&self, allocation: &Allocation, packing: &Packing) -> Result<Resource, Error> {
        let _held = self.held.take(packing);
        let pieces = packing.pieces();
        let resource = match allocation.storage {
            Storage::Buffer => {
                // The host may choose another class between runs.
                let buffer = self.buffer(allocation, wgpu::BufferUsages::COPY_DST)?;
                for Piece { at, scalars } in pieces {
                    let bytes = encoded(&scalars, allocation.precision);
                    let offset = (at * allocation.precision.bytes()) as u64;
                    guarded(self.device, &allocation.name, || {
                        self.queue.write_buffer(&buffer, offset, &bytes);
                    })?;
                    self.staged(bytes.len());
                }
                Resource::Buffer(buffer)
            }
            Storage::Texture => {
                let texture = self.texture(allocation)?;
                for Piece { at, scalars } in pieces {
                    self.write_texels(&texture, allocation, at, &scalars)?;
                }
                view(&texture)
            }
        };
        Ok(resource)
    }

    fn buffer(
        &self,
        allocation: &Allocation,
        usage: wgpu::BufferUsages,
    ) -> Result<wgpu::Buffer, Error> {
        create_scratch(self.device, &allocation.name, allocation.bytes, usage)
    }

    /// A folded texture.
    fn texture(&self, allocation: &Allocation) -> Result<wgpu::Texture, Error> {
        let label = label(&allocation.name);
        guarded(self.device, &allocation.name, || {
            self.device.create_texture(&wgpu::TextureDescriptor {
                label: Some(&label),
                size: wgpu::Extent3d {
                    width: side(FOLD_WIDTH as u64),
                    height: side(allocation.texture_rows()),
                    depth_or_array_layers: 1,
                },
                mip_level_count: 1,
                sample_count: 1,
                dimension: wgpu::TextureDimension::D2,
                format: texture_format(allocation.precision),
                usage: wgpu::TextureUsages::STORAGE_BINDING
                    | wgpu::TextureUsages::TEXTURE_BINDING
                    | wgpu::TextureUsages::COPY_DST,
                view_formats: &[],
            })
        })
    }

    /// Writes scalars from a texel on: the rest of its row, then whole rows, then the start of a row.
    fn write_texels(
        &self,
        texture: &wgpu::Texture,
        allocation: &Allocation,
        mut at: usize,
        mut scalars: &[f32],
    ) -> Result<(), Error> {
        while !scalars.is_empty() {
            let in_row = at % FOLD_ROW_SCALARS;
            let len = if in_row == 0 && scalars.len() >= FOLD_ROW_SCALARS {
                scalars.len() / FOLD_ROW_SCALARS * FOLD_ROW_SCALARS
            } else {
                scalars.len().min(FOLD_ROW_SCALARS - in_row)
            };
            let (first, rest) = scalars.split_at(len);
            let texels = encoded(first, allocation.precision);
            guarded(self.device, &allocation.name, || {
                self.queue.write_texture(
                    wgpu::TexelCopyTextureInfo {
                        origin: wgpu::Origin3d {
                            x: side((in_row / LANES) as u64),
                            y: side((at / FOLD_ROW_SCALARS) as u64),
                            z: 0,
                        },
                        ..texture.as_image_copy()
                    },
                    &texels,
                    wgpu::TexelCopyBufferLayout {
                        offset: 0,
                        bytes_per_row: Some(side(allocation.texture_row_bytes())),
                        rows_per_image: None,
                    },
                    wgpu::Extent3d {
                        width: side((len / LANES).min(FOLD_WIDTH) as u64),
                        height: side(len.div_ceil(FOLD_ROW_SCALARS) as u64),
                        depth_or_array_layers: 1,
                    },
                );
            })?;
            self.staged(texels.len());
            (at, scalars) = (at + len, rest);
        }
        Ok(())
    }

    /// Has the device take what was written, if that is much: a submission of no commands does.
    fn staged(&self, bytes: usize) {
        let staged = self.staged.fetch_add(bytes as u64, Ordering::Relaxed) + bytes as u64;
        if staged >= STAGED {
            self.staged.fetch_sub(staged, Ordering::Relaxed);
            self.queue.submit([]);
        }
    }
}

/// Bytes of weights that all threads may hold together while they pack them.
const HELD: usize = 8 << 20;

/// Lets threads wait until others hold less. One that needs more than there is waits until nobody holds any.
#[derive(Debug, Default)]
struct Budget {
    held: Mutex<usize>,
    less: Condvar,
}

struct Held<'a> {
    budget: &'a Budget,
    bytes: usize,
}

impl Budget {
    /// Room for packing.
    fn take(&self, packing: &Packing) -> Held<'_> {
        let bytes = size_of::<f32>() * packing.held();
        let held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        let full = |held: &mut usize| *held > 0 && *held + bytes > HELD;
        let held = self.less.wait_while(held, full);
        *held.unwrap_or_else(PoisonError::into_inner) += bytes;
        Held {
            budget: self,
            bytes,
        }
    }
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        let held = self.budget.held.lock();
        *held.unwrap_or_else(PoisonError::into_inner) -= self.bytes;
        self.budget.less.notify_all();
    }
}

fn view(texture: &wgpu::Texture) -> Resource {
    Resource::Texture(texture.create_view(&wgpu::TextureViewDescriptor::default()))
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

/// A folded texture of so many texels, which the queue fills with the pieces.
pub(super) fn create_folded(
    device: &wgpu::Device,
    queue: &wgpu::Queue,
    name: &str,
    texels: usize,
    pieces: impl IntoIterator<Item = Piece>,
) -> Result<wgpu::TextureView, Error> {
    let upload = Upload::new(device, queue);
    let allocation = Allocation {
        name: name.to_owned(),
        bytes: (folded_rows(texels) * FOLD_ROW_SCALARS * size_of::<f32>()) as u64,
        storage: Storage::Texture,
        precision: Precision::F32,
        content: Content::Input,
    };
    let texture = upload.texture(&allocation)?;
    for Piece { at, scalars } in pieces {
        upload.write_texels(&texture, &allocation, at, &scalars)?;
    }
    Ok(texture.create_view(&wgpu::TextureViewDescriptor::default()))
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
