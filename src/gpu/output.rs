//! The destinations of results: they stay in the executor's buffers, are copied to the host's, or
//! are painted into the host's textures.

use std::sync::Arc;

use super::Executor;
use super::dispatch::Dispatch;
use super::heat_map::{HeatMap, Painted};
use super::record::TextureCopy;
use crate::error::Error;
use crate::plan::OutputKey;

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
        let name = &output.name;
        let bytes = output.shape.packed_len() as u64 * 4;
        let refuse = |reason: String| Err(Error::Recording { reason });
        if !buffer.usage().contains(wgpu::BufferUsages::COPY_DST) {
            return refuse(format!("the buffer for '{name}' lacks the usage COPY_DST"));
        }
        if !offset.is_multiple_of(wgpu::COPY_BUFFER_ALIGNMENT) {
            return refuse(format!("the offset {offset} is not a multiple of 4"));
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
        builder.wanted.copies.push(BufferCopy {
            from: from.clone(),
            to: buffer.clone(),
            offset,
            bytes,
        });
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
