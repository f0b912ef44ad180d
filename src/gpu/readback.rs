//! Outputs back to the host, without blocking it.

use futures_channel::oneshot;

use super::{Executor, guarded};
use crate::error::Error;
use crate::plan::Output;
use crate::tensor::{Tensor, unpack};

/// A host-visible copy of some outputs of an [`Executor`].
///
/// Record the copies behind the run, submit, then await [`Readback::read`]. The future completes
/// when the host polls its device or submits again; it never polls itself.
#[derive(Debug)]
pub struct Readback {
    buffer: wgpu::Buffer,
    parts: Vec<Part>,
}

/// One output within the host-visible buffer.
#[derive(Debug)]
struct Part {
    output: Output,
    source: wgpu::Buffer,
    offset: u64,
    bytes: u64,
}

impl Readback {
    /// A readback of all outputs of an executor.
    ///
    /// # Errors
    /// [`Error::OutOfMemory`] and [`Error::Gpu`] when the buffer cannot be made.
    pub fn new(device: &wgpu::Device, executor: &Executor) -> Result<Self, Error> {
        let names: Vec<&str> = executor.outputs().iter().map(|o| o.name.as_str()).collect();
        Self::of(device, executor, &names)
    }

    /// A readback of some outputs of an executor, in this order.
    ///
    /// # Errors
    /// [`Error::UnknownValue`] for a name that is no output, and as [`Readback::new`].
    pub fn of(device: &wgpu::Device, executor: &Executor, names: &[&str]) -> Result<Self, Error> {
        let mut total = 0;
        let mut parts = Vec::new();
        for name in names {
            let (output, source) = executor.output(name)?;
            let bytes = output.shape.packed_len() as u64 * 4;
            parts.push(Part {
                output: output.clone(),
                source: source.clone(),
                offset: total,
                bytes,
            });
            total += bytes;
        }
        let buffer = guarded(device, "readback", || {
            device.create_buffer(&wgpu::BufferDescriptor {
                label: Some("resnet-wgpu readback"),
                size: total,
                usage: wgpu::BufferUsages::COPY_DST | wgpu::BufferUsages::MAP_READ,
                mapped_at_creation: false,
            })
        })?;
        Ok(Self { buffer, parts })
    }

    /// Records the copies.
    pub fn record(&self, encoder: &mut wgpu::CommandEncoder) {
        for part in &self.parts {
            encoder.copy_buffer_to_buffer(&part.source, 0, &self.buffer, part.offset, part.bytes);
        }
    }

    /// The outputs of the last submitted run, NCHW, in the order of [`Executor::outputs`], or in that
    /// of the names given to [`Readback::of`].
    ///
    /// # Errors
    /// [`Error::Gpu`] when the device was lost.
    pub async fn read(&self) -> Result<Vec<Tensor>, Error> {
        let tensors = |mapped: &[u8]| self.parts.iter().map(|part| part.tensor(mapped)).collect();
        map("readback", &self.buffer, tensors).await?
    }
}

/// Maps a buffer, looks at its bytes, and unmaps it. Whoever owns the device polls it.
pub(super) async fn map<T>(
    what: &str,
    buffer: &wgpu::Buffer,
    look: impl FnOnce(&[u8]) -> T,
) -> Result<T, Error> {
    let error = |reason: String| Error::Gpu {
        what: what.to_owned(),
        reason,
    };
    let (sender, receiver) = oneshot::channel();
    buffer.map_async(wgpu::MapMode::Read, .., move |result| {
        // The receiver is gone when the caller dropped the future: nobody wants the result.
        let _ = sender.send(result);
    });
    match receiver.await {
        Ok(Ok(())) => {}
        Ok(Err(reason)) => return Err(error(reason.to_string())),
        Err(_) => return Err(error("the device dropped the request".to_owned())),
    }
    let seen = {
        let mapped = buffer
            .get_mapped_range(..)
            .map_err(|e| error(e.to_string()))?;
        look(&mapped)
    };
    buffer.unmap();
    Ok(seen)
}

impl Part {
    fn tensor(&self, mapped: &[u8]) -> Result<Tensor, Error> {
        let shape = self.output.shape;
        // Both are far below the size of memory: the buffer is mapped.
        let [offset, bytes] =
            [self.offset, self.bytes].map(|b| usize::try_from(b).unwrap_or(usize::MAX));
        let packed: Vec<f32> = bytemuck::pod_collect_to_vec(&mapped[offset..offset + bytes]);
        Tensor::new(&shape.dims(), unpack(shape, &packed))
    }
}
