//! Copies outputs back to the host without blocking it.

use std::sync::{Mutex, MutexGuard, PoisonError};

use futures_channel::oneshot;

use super::{Executor, guarded};
use crate::error::Error;
use crate::plan::{OutputKey, PlannedOutput};
use crate::tensor::{Tensor, unpack};

/// A host-visible copy of some outputs of an [`Executor`].
///
/// Record the copies after the run, submit, then await [`Readback::read`] or call
/// [`Readback::try_read`] in every frame. Both complete when the host polls its device or submits
/// again; they never poll themselves. The copies must not be submitted again in between, because
/// wgpu allows no commands on a mapped buffer.
#[derive(Debug)]
pub struct Readback {
    buffer: wgpu::Buffer,
    parts: Vec<Part>,
    /// The mapping that [`Readback::try_read`] waits for.
    pending: Mutex<Option<Mapping>>,
}

/// The answer to a request to map a buffer.
type Mapping = oneshot::Receiver<Result<(), wgpu::BufferAsyncError>>;

/// One output within the host-visible buffer.
#[derive(Debug)]
struct Part {
    output: PlannedOutput,
    source: wgpu::Buffer,
    offset: u64,
    bytes: u64,
}

impl Readback {
    /// Reads back all outputs of an executor.
    ///
    /// # Errors
    /// [`Error::OutOfMemory`] and [`Error::Gpu`] if the buffer cannot be created.
    pub fn new(device: &wgpu::Device, executor: &Executor) -> Result<Self, Error> {
        let names = executor.outputs().iter().map(|o| o.name.as_str());
        Self::of(device, executor, names)
    }

    /// Reads back some outputs of an executor, selected by name or role, in this order.
    ///
    /// # Errors
    /// As [`Readback::new`]; also [`Error::UnknownValue`] and [`Error::NoRole`] for values that are
    /// not outputs.
    pub fn of<'a, K: Into<OutputKey<'a>>>(
        device: &wgpu::Device,
        executor: &Executor,
        keys: impl IntoIterator<Item = K>,
    ) -> Result<Self, Error> {
        let mut total = 0;
        let mut parts = Vec::new();
        for key in keys {
            let (output, source) = executor.output(key)?;
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
        Ok(Self {
            buffer,
            parts,
            pending: Mutex::default(),
        })
    }

    /// Records the copies.
    pub fn record(&self, encoder: &mut wgpu::CommandEncoder) {
        for part in &self.parts {
            encoder.copy_buffer_to_buffer(&part.source, 0, &self.buffer, part.offset, part.bytes);
        }
    }

    /// The outputs of the last submitted run, NCHW, in the order of [`Executor::outputs`], or in
    /// that given to [`Readback::of`].
    ///
    /// # Errors
    /// [`Error::Gpu`] if the device was lost.
    pub async fn read(&self) -> Result<Vec<Tensor>, Error> {
        map(WHAT, &self.buffer, |mapped| self.tensors(mapped)).await?
    }

    /// Does what [`Readback::read`] does for a host that looks once per frame: it returns `None`
    /// until the device is done. The first call after a submission requests the results.
    ///
    /// # Errors
    /// As [`Readback::read`].
    pub fn try_read(&self) -> Result<Option<Vec<Tensor>>, Error> {
        let mut pending = self.lock();
        let mapping = pending.get_or_insert_with(|| request(&self.buffer));
        let answer = match mapping.try_recv() {
            Ok(None) => return Ok(None),
            Ok(Some(answer)) => Some(answer),
            Err(oneshot::Canceled) => None,
        };
        *pending = None;
        check(WHAT, answer)?;
        look_at(WHAT, &self.buffer, |mapped| self.tensors(mapped))?.map(Some)
    }

    /// Whether [`Readback::try_read`] has requested results that it has not yet returned; meanwhile
    /// the copies must not be submitted again.
    pub fn is_pending(&self) -> bool {
        self.lock().is_some()
    }

    fn lock(&self) -> MutexGuard<'_, Option<Mapping>> {
        // A panic elsewhere cannot leave it half-changed.
        self.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn tensors(&self, mapped: &[u8]) -> Result<Vec<Tensor>, Error> {
        self.parts.iter().map(|part| part.tensor(mapped)).collect()
    }
}

/// The operation that errors name.
const WHAT: &str = "readback";

/// Maps a buffer, reads its bytes, and unmaps it. The owner of the device polls it.
pub(super) async fn map<T>(
    what: &str,
    buffer: &wgpu::Buffer,
    look: impl FnOnce(&[u8]) -> T,
) -> Result<T, Error> {
    let answer = request(buffer).await.ok();
    check(what, answer)?;
    look_at(what, buffer, look)
}

/// Asks for a buffer to be mapped.
fn request(buffer: &wgpu::Buffer) -> Mapping {
    let (sender, receiver) = oneshot::channel();
    buffer.map_async(wgpu::MapMode::Read, .., move |result| {
        // The receiver is gone if the caller dropped the future: then nobody wants the result.
        let _ = sender.send(result);
    });
    receiver
}

fn failed(what: &str, reason: impl std::fmt::Display) -> Error {
    Error::Gpu {
        what: what.to_owned(),
        reason: reason.to_string(),
    }
}

/// Checks whether the request was granted; without an answer the device is gone.
fn check(what: &str, answer: Option<Result<(), wgpu::BufferAsyncError>>) -> Result<(), Error> {
    match answer {
        Some(answer) => answer.map_err(|error| failed(what, error)),
        None => Err(failed(what, "the device dropped the request")),
    }
}

/// Reads the bytes of a mapped buffer, and unmaps it.
fn look_at<T>(
    what: &str,
    buffer: &wgpu::Buffer,
    look: impl FnOnce(&[u8]) -> T,
) -> Result<T, Error> {
    let seen = {
        let mapped = buffer.get_mapped_range(..).map_err(|e| failed(what, e))?;
        look(&mapped)
    };
    buffer.unmap();
    Ok(seen)
}

impl Part {
    fn tensor(&self, mapped: &[u8]) -> Result<Tensor, Error> {
        let shape = self.output.shape;
        // Both are far smaller than memory, since the buffer is mapped.
        let [offset, bytes] =
            [self.offset, self.bytes].map(|b| usize::try_from(b).unwrap_or(usize::MAX));
        let packed: Vec<f32> = bytemuck::pod_collect_to_vec(&mapped[offset..offset + bytes]);
        Tensor::new(&shape.dims(), unpack(shape, &packed))
    }
}
