//! Host-visible buffers in flight: copied to by one submission, mapped with it, read once, and reused.
//!
//! wgpu allows no commands on a mapped buffer. Here a buffer is either free or in flight, and it is
//! mapped by the submission itself, so there is no order of calls in which a host could get that wrong.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use futures_channel::oneshot;

use super::dispatch::label;
use super::guarded;
use crate::error::Error;

/// Some buffers of the same size, and with each that is in flight a note.
#[derive(Debug)]
pub(super) struct Ring<T> {
    what: &'static str,
    buffers: Mutex<Buffers<T>>,
}

#[derive(Debug)]
struct Buffers<T> {
    free: Vec<wgpu::Buffer>,
    /// In the order in which they were recorded.
    in_flight: Vec<InFlight<T>>,
}

#[derive(Debug)]
struct InFlight<T> {
    buffer: wgpu::Buffer,
    note: T,
    mapped: oneshot::Receiver<Granted>,
    /// Whether it was mapped, once that is known.
    granted: Option<Granted>,
}

type Granted = Result<(), wgpu::BufferAsyncError>;

impl<T: Copy> Ring<T> {
    /// Creates buffers; `what` is what errors name.
    pub(super) fn new(
        device: &wgpu::Device,
        what: &'static str,
        bytes: u64,
        count: usize,
    ) -> Result<Self, Error> {
        let buffer = || {
            guarded(device, what, || {
                device.create_buffer(&wgpu::BufferDescriptor {
                    label: Some(&label(what)),
                    size: bytes,
                    usage: wgpu::BufferUsages::COPY_DST | wgpu::BufferUsages::MAP_READ,
                    mapped_at_creation: false,
                })
            })
        };
        Ok(Self {
            what,
            buffers: Mutex::new(Buffers {
                free: (0..count).map(|_| buffer()).collect::<Result<_, _>>()?,
                in_flight: Vec::with_capacity(count),
            }),
        })
    }

    /// Records copies to a free buffer; without one it records nothing and returns false.
    pub(super) fn record(
        &self,
        encoder: &mut wgpu::CommandEncoder,
        note: T,
        copy: impl FnOnce(&mut wgpu::CommandEncoder, &wgpu::Buffer),
    ) -> bool {
        let mut buffers = self.lock();
        buffers.update(None);
        let Some(buffer) = buffers.free.pop() else {
            return false;
        };
        copy(encoder, &buffer);
        let (sender, mapped) = oneshot::channel();
        encoder.map_buffer_on_submit(&buffer, wgpu::MapMode::Read, .., move |granted| {
            // The receiver is gone with the ring: nobody wants the bytes.
            let _ = sender.send(granted);
        });
        buffers.in_flight.push(InFlight {
            buffer,
            note,
            mapped,
            granted: None,
        });
        true
    }

    /// Reads the bytes that arrived first; `None` if nothing is in flight. With a context, whoever waits
    /// is woken when something arrives.
    pub(super) fn poll<R>(
        &self,
        context: Option<&mut Context<'_>>,
        read: impl FnOnce(T, &[u8]) -> R,
    ) -> Poll<Option<Result<R, Error>>> {
        let mut buffers = self.lock();
        buffers.update(context);
        if buffers.in_flight.is_empty() {
            return Poll::Ready(None);
        }
        let Some(arrived) = buffers.take_arrived() else {
            return Poll::Pending;
        };
        let fail = |reason: String| Error::Gpu {
            what: self.what.to_owned(),
            reason,
        };
        if let Some(Err(error)) = arrived.granted {
            // The buffer is lost with the device.
            return Poll::Ready(Some(Err(fail(error.to_string()))));
        }
        let InFlight { buffer, note, .. } = arrived;
        let result = match buffer.get_mapped_range(..) {
            Ok(bytes) => read(note, &bytes),
            // So is it here, if the device was lost after it had arrived.
            Err(error) => return Poll::Ready(Some(Err(fail(error.to_string())))),
        };
        buffers.give_back(buffer);
        Poll::Ready(Some(Ok(result)))
    }

    /// Makes room by forgetting what arrived first and was never read.
    pub(super) fn forget_one(&self) {
        let mut buffers = self.lock();
        buffers.update(None);
        if buffers.free.is_empty()
            && let Some(InFlight {
                buffer,
                granted: Some(Ok(())),
                ..
            }) = buffers.take_arrived()
        {
            buffers.give_back(buffer);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Buffers<T>> {
        // A panic elsewhere cannot leave it half-changed.
        self.buffers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T> Buffers<T> {
    /// Takes note of what has arrived, and frees the buffers of commands that were dropped instead of
    /// being submitted.
    fn update(&mut self, mut context: Option<&mut Context<'_>>) {
        let dropped = |copy: &mut InFlight<T>| copy.update(context.as_deref_mut()).is_err();
        let dropped = self.in_flight.extract_if(.., dropped);
        self.free.extend(dropped.map(|copy| copy.buffer));
    }

    fn take_arrived(&mut self) -> Option<InFlight<T>> {
        let mut copies = self.in_flight.iter();
        let index = copies.position(|copy| copy.granted.is_some())?;
        Some(self.in_flight.remove(index))
    }

    fn give_back(&mut self, mapped: wgpu::Buffer) {
        mapped.unmap();
        self.free.push(mapped);
    }
}

impl<T> InFlight<T> {
    fn update(&mut self, context: Option<&mut Context<'_>>) -> Result<(), oneshot::Canceled> {
        if self.granted.is_none() {
            self.granted = match context {
                // This leaves the waker of whoever waits alone.
                None => self.mapped.try_recv()?,
                Some(context) => match Pin::new(&mut self.mapped).poll(context) {
                    Poll::Ready(granted) => Some(granted?),
                    Poll::Pending => None,
                },
            };
        }
        Ok(())
    }
}
