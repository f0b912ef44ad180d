//! Copies outputs back to the host without blocking it.

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use futures_channel::oneshot;

use super::{Executor, alive, guarded};
use crate::answer;
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
    /// Whether to refuse results that make no sense, such as NaN.
    checked: bool,
    /// The request that [`Readback::read`] and [`Readback::try_read`] wait for.
    pending: Mutex<Option<Mapped>>,
}

/// A buffer that is mapped or about to be. It is unmapped when dropped, because a command that uses
/// a mapped buffer would abort the host.
#[derive(Debug)]
struct Mapped {
    buffer: wgpu::Buffer,
    answer: oneshot::Receiver<Granted>,
    /// Whether the request was granted, once that is known.
    granted: Option<bool>,
}

type Granted = Result<(), wgpu::BufferAsyncError>;

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
        alive(device)?;
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
            checked: true,
            pending: Mutex::default(),
        })
    }

    /// The same, without checks of the results, for comparisons.
    pub(super) const fn unchecked(mut self) -> Self {
        self.checked = false;
        self
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
        let _unless_complete = TakeBack(self);
        let answer = poll_fn(|context| {
            let mut pending = self.lock();
            let mapped = pending.get_or_insert_with(|| Mapped::request(&self.buffer));
            mapped.poll(context)
        });
        let answer = answer.await;
        let Some(mapped) = self.lock().take() else {
            return Err(failed(WHAT, "it was read by another call meanwhile"));
        };
        mapped.look(WHAT, answer, |bytes| self.tensors(bytes))?
    }

    /// Does what [`Readback::read`] does, for a host that polls once per frame: it returns `None`
    /// until the device is done. The first call after a submission requests the results.
    ///
    /// # Errors
    /// As [`Readback::read`].
    pub fn try_read(&self) -> Result<Option<Vec<Tensor>>, Error> {
        let mut pending = self.lock();
        let mapped = pending.get_or_insert_with(|| Mapped::request(&self.buffer));
        let Poll::Ready(answer) = mapped.poll(&mut Context::from_waker(Waker::noop())) else {
            return Ok(None);
        };
        let seen = pending.take();
        let seen = seen.map(|mapped| mapped.look(WHAT, answer, |bytes| self.tensors(bytes)));
        seen.transpose()?.transpose()
    }

    /// Whether [`Readback::try_read`] has requested results that it has not yet returned; meanwhile
    /// the copies must not be submitted again.
    pub fn is_pending(&self) -> bool {
        self.lock().is_some()
    }

    fn lock(&self) -> MutexGuard<'_, Option<Mapped>> {
        // A panic elsewhere cannot leave it half-changed.
        self.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn tensors(&self, mapped: &[u8]) -> Result<Vec<Tensor>, Error> {
        let tensors = self.parts.iter().map(|part| part.tensor(mapped));
        let tensors = tensors.collect::<Result<Vec<_>, Error>>()?;
        if self.checked {
            let values = self.parts.iter().zip(&tensors);
            let values = values.map(|(part, tensor)| answer::Values {
                output: &part.output.name,
                roles: &part.output.roles,
                tensor,
            });
            answer::check(&values.collect::<Vec<_>>())?;
        }
        Ok(tensors)
    }
}

/// Withdraws the request when the future is dropped.
struct TakeBack<'a>(&'a Readback);

impl Drop for TakeBack<'_> {
    fn drop(&mut self) {
        self.0.lock().take();
    }
}

/// What errors call the operation.
const WHAT: &str = "readback";

/// Maps a buffer, reads its bytes, and unmaps it. The owner of the device polls it.
pub(super) async fn map<T>(
    what: &str,
    buffer: &wgpu::Buffer,
    look: impl FnOnce(&[u8]) -> T,
) -> Result<T, Error> {
    let mut mapped = Mapped::request(buffer);
    let answer = poll_fn(|context| mapped.poll(context)).await;
    mapped.look(what, answer, look)
}

fn failed(what: &str, reason: impl std::fmt::Display) -> Error {
    Error::Gpu {
        what: what.to_owned(),
        reason: reason.to_string(),
    }
}

impl Mapped {
    /// Requests that a buffer be mapped.
    fn request(buffer: &wgpu::Buffer) -> Self {
        let (sender, answer) = oneshot::channel();
        buffer.map_async(wgpu::MapMode::Read, .., move |result| {
            // The receiver is gone if the caller dropped the future: the result is not needed.
            let _ = sender.send(result);
        });
        Self {
            buffer: buffer.clone(),
            answer,
            granted: None,
        }
    }

    /// Polls for the reply; if there is none, the device is gone.
    fn poll(&mut self, context: &mut Context<'_>) -> Poll<Option<Granted>> {
        let answer = Pin::new(&mut self.answer).poll(context).map(Result::ok);
        if let Poll::Ready(answer) = &answer {
            self.granted = Some(matches!(answer, Some(Ok(()))));
        }
        answer
    }

    /// Passes the bytes to `look` if the request was granted.
    fn look<T>(
        self,
        what: &str,
        answer: Option<Granted>,
        look: impl FnOnce(&[u8]) -> T,
    ) -> Result<T, Error> {
        match answer {
            Some(answer) => answer.map_err(|error| failed(what, error))?,
            None => return Err(failed(what, "the device dropped the request")),
        }
        let mapped = self.buffer.get_mapped_range(..);
        let mapped = mapped.map_err(|error| failed(what, error))?;
        Ok(look(&mapped))
    }
}

impl Drop for Mapped {
    fn drop(&mut self) {
        // A pending request is withdrawn; after a refusal the buffer is not mapped.
        let answer = &mut self.answer;
        let open = || !matches!(answer.try_recv(), Ok(Some(Err(_))) | Err(_));
        if self.granted.unwrap_or_else(open) {
            self.buffer.unmap();
        }
    }
}

impl Part {
    fn tensor(&self, mapped: &[u8]) -> Result<Tensor, Error> {
        let shape = self.output.shape;
        // Both are far smaller than memory, as the buffer is mapped.
        let [offset, bytes] =
            [self.offset, self.bytes].map(|b| usize::try_from(b).unwrap_or(usize::MAX));
        let packed: Vec<f32> = bytemuck::pod_collect_to_vec(&mapped[offset..offset + bytes]);
        Tensor::new(&shape.dims(), unpack(shape, &packed))
    }
}
