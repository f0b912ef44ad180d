//! The destinations of results: they stay in the executor's buffers, are copied to the host's, or
//! are painted into the host's textures.

use std::num::NonZeroU64;
use std::sync::Arc;

use super::Executor;
use super::dispatch::Dispatch;
use super::heat_map::{HeatMap, Painted};
use super::pipelines::Pipelines;
use super::record::TextureCopy;
use crate::error::Error;
use crate::kernels::unit_vector;
use crate::plan::{OutputKey, PlannedOutput};

/// The destination of the results of a run of an [`Executor`]. It is created once and recorded as
/// often as needed; clones share it.
///
/// After the run, every output of the graph lies in a buffer of the executor
/// ([`Executor::output`]). The network is recorded only as far as this output needs it; the buffers
/// of other outputs then hold nothing useful.
#[derive(Clone, Debug, Default)]
pub struct Output(Option<Arc<Wanted>>);

#[derive(Debug)]
struct Wanted {
    /// The id of the executor that it belongs to.
    owner: u64,
    /// The number of network dispatches until every requested value is complete.
    network_steps: usize,
    copies: Vec<BufferCopy>,
    dispatches: Vec<Dispatch>,
    textures: Vec<TextureCopy>,
}

/// A copy of a value to a buffer of the host.
#[derive(Debug)]
struct BufferCopy {
    from: wgpu::Buffer,
    to: wgpu::Buffer,
    offset: u64,
    bytes: u64,
}

impl Output {
    /// Computes all outputs of the graph and leaves them in the executor's buffers.
    pub fn kept() -> Self {
        Self::default()
    }

    /// Computes only what is requested from the builder.
    pub fn builder(executor: &Executor) -> OutputBuilder<'_> {
        OutputBuilder {
            executor,
            wanted: Wanted {
                owner: executor.id,
                network_steps: 0,
                copies: Vec::new(),
                dispatches: Vec::new(),
                textures: Vec::new(),
            },
        }
    }

    pub(super) fn owner(&self) -> Option<u64> {
        self.0.as_ref().map(|wanted| wanted.owner)
    }

    pub(super) fn network_steps(&self) -> Option<usize> {
        self.0.as_ref().map(|wanted| wanted.network_steps)
    }

    pub(super) fn dispatches(&self) -> &[Dispatch] {
        self.0.as_ref().map_or(&[], |wanted| &wanted.dispatches)
    }

    pub(super) fn record_copies(&self, encoder: &mut wgpu::CommandEncoder) {
        let Some(wanted) = &self.0 else {
            return;
        };
        for copy in &wanted.copies {
            encoder.copy_buffer_to_buffer(&copy.from, 0, &copy.to, copy.offset, copy.bytes);
        }
        for copy in &wanted.textures {
            encoder.copy_buffer_to_texture(
                wgpu::TexelCopyBufferInfo {
                    buffer: &copy.from,
                    layout: copy.layout,
                },
                wgpu::TexelCopyTextureInfo {
                    texture: &copy.to,
                    mip_level: 0,
                    origin: copy.origin,
                    aspect: wgpu::TextureAspect::All,
                },
                copy.size,
            );
        }
    }
}

/// Collects the results that a run must produce.
#[derive(Debug)]
pub struct OutputBuilder<'a> {
    executor: &'a Executor,
    wanted: Wanted,
}

impl OutputBuilder<'_> {
    /// Requests an output of the graph, by its name or role, and leaves it in the executor's
    /// buffer.
    ///
    /// # Errors
    /// [`Error::UnknownValue`] and [`Error::NoRole`] if the plan keeps no such value.
    pub fn keep<'a>(mut self, key: impl Into<OutputKey<'a>>) -> Result<Self, Error> {
        let (_, steps) = self.executor.find_output(&key.into())?;
        self.wanted.network_steps = self.wanted.network_steps.max(steps);
        Ok(self)
    }

    /// Copies an output of the graph, channel-packed ([`crate::tensor::pack`]), to a buffer of the
    /// host that has the usage `COPY_DST`.
    ///
    /// # Errors
    /// As [`Self::keep`]; also [`Error::Recording`] if the buffer is too small or lacks the usage,
    /// or if the offset is not a multiple of 4.
    pub fn copy<'a>(
        self,
        key: impl Into<OutputKey<'a>>,
        buffer: &wgpu::Buffer,
        offset: u64,
    ) -> Result<Self, Error> {
        let key = key.into();
        let mut builder = self.keep(key.clone())?;
        let (output, from) = builder.executor.output(key)?;
        let usage = wgpu::BufferUsages::COPY_DST;
        let bytes = fits(output, buffer, usage, offset, wgpu::COPY_BUFFER_ALIGNMENT)?;
        builder.wanted.copies.push(BufferCopy {
            from: from.clone(),
            to: buffer.clone(),
            offset,
            bytes,
        });
        Ok(builder)
    }

    /// Writes the vectors of an output that has one pixel, such as [`Role::Features`](crate::graph::Role),
    /// divided by their lengths, to a buffer of the host that has the usage `STORAGE`: row-major, image after
    /// image, each filled up with zeros to a multiple of four numbers. A vector of zeros, or with a number that
    /// is not finite, becomes zeros. Of two such vectors the sum of products is their cosine.
    ///
    /// # Errors
    /// As [`Self::keep`]; also [`Error::Recording`] if the value has more than one pixel, if the buffer is
    /// too small or lacks the usage, or if the offset is not a multiple of the device's
    /// `min_storage_buffer_offset_alignment`; [`Error::Gpu`] from the device.
    pub fn unit_vectors<'a>(
        self,
        device: &wgpu::Device,
        key: impl Into<OutputKey<'a>>,
        buffer: &wgpu::Buffer,
        offset: u64,
    ) -> Result<Self, Error> {
        let key = key.into();
        let mut builder = self.keep(key.clone())?;
        let (output, from) = builder.executor.output(key)?;
        let (name, shape) = (&output.name, output.shape);
        if shape.h * shape.w != 1 {
            return Err(Error::Recording {
                reason: format!(
                    "'{name}' has {}×{} pixels, not one vector",
                    shape.h, shape.w
                ),
            });
        }
        let usage = wgpu::BufferUsages::STORAGE;
        let alignment = device.limits().min_storage_buffer_offset_alignment;
        let bytes = fits(output, buffer, usage, offset, alignment.into())?;
        let launch = unit_vector::launch(shape.channel_groups(), shape.n);
        let size = NonZeroU64::new(bytes);
        let to = wgpu::BufferBinding {
            buffer,
            offset,
            size,
        };
        let bound = [from.as_entire_binding(), wgpu::BindingResource::Buffer(to)];
        let pipeline = Pipelines::new(device, None).get(&launch)?;
        let dispatch = Dispatch::new(device, "unit vectors", &launch, pipeline, bound)?;
        builder.wanted.dispatches.push(dispatch);
        Ok(builder)
    }

    /// Paints a one-channel output, such as a class activation map, into a texture of the host.
    ///
    /// # Errors
    /// As [`Self::keep`]; [`Error::Texture`] if the value has more than one channel or the texture
    /// cannot be painted ([`HeatMap`]); [`Error::Gpu`] and [`Error::OutOfMemory`] from the device.
    pub fn heat_map(
        self,
        device: &wgpu::Device,
        texture: &wgpu::Texture,
        how: &HeatMap,
    ) -> Result<Self, Error> {
        let mut builder = self.keep(how.value.clone())?;
        let Painted { dispatch, copy } = how.paint(device, builder.executor, texture)?;
        builder.wanted.dispatches.push(dispatch);
        builder.wanted.textures.push(copy);
        Ok(builder)
    }

    /// Builds the output.
    pub fn build(self) -> Output {
        Output(Some(Arc::new(self.wanted)))
    }
}

/// The bytes of an output, if a buffer of the host can take it.
fn fits(
    output: &PlannedOutput,
    buffer: &wgpu::Buffer,
    usage: wgpu::BufferUsages,
    offset: u64,
    alignment: u64,
) -> Result<u64, Error> {
    let (name, bytes) = (&output.name, output.shape.packed_len() as u64 * 4);
    let refuse = |reason: String| Err(Error::Recording { reason });
    if !buffer.usage().contains(usage) {
        let usage = usage.iter_names().map(|(name, _)| name).collect::<String>();
        return refuse(format!("the buffer for '{name}' lacks the usage {usage}"));
    }
    if !offset.is_multiple_of(alignment) {
        return refuse(format!(
            "the offset {offset} is not a multiple of {alignment}"
        ));
    }
    if offset
        .checked_add(bytes)
        .is_none_or(|end| end > buffer.size())
    {
        return refuse(format!(
            "'{name}' needs {bytes} bytes, the buffer has {} from {offset} on",
            buffer.size().saturating_sub(offset)
        ));
    }
    Ok(bytes)
}
