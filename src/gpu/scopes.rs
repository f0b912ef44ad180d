//! wgpu's reports about what is being created, as errors.
//!
//! Natively a report is there at once. A browser answers later: what is created within [`answered`]
//! gets its answers there, and what is created outside of it is refused, because nobody would hear
//! of a failure.

use std::cell::RefCell;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::task::{Context, Poll, Waker, ready};

use crate::error::Error;

#[cfg(target_family = "wasm")]
type Answer = Pin<Box<dyn Future<Output = Option<wgpu::Error>>>>;
#[cfg(not(target_family = "wasm"))]
type Answer = Pin<Box<dyn Future<Output = Option<wgpu::Error>> + Send>>;

thread_local! {
    /// What waits for the browser, within [`answered`].
    static WAITING: RefCell<Option<Vec<Created>>> = const { RefCell::new(None) };
}

/// Something whose error scopes have been closed.
struct Created {
    what: String,
    /// From the last scope to the first.
    answers: Vec<Answer>,
    worst: Option<wgpu::Error>,
}

impl Created {
    fn poll(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Error>> {
        while let Some(answer) = self.answers.last_mut() {
            let report = ready!(answer.as_mut().poll(context));
            self.answers.pop();
            // Full memory is what makes objects invalid, not the other way round.
            if let Some(error) = report
                && (self.worst.is_none() || matches!(error, wgpu::Error::OutOfMemory { .. }))
            {
                self.worst = Some(error);
            }
        }
        let error = self.worst.take();
        Poll::Ready(error.map_or(Ok(()), |error| Err(gpu_error(&self.what, &error))))
    }
}

/// Creates executors, inputs, outputs and readbacks in a browser, where a device says only later
/// what it refuses: all of its answers are awaited. Natively this only calls the function.
///
/// # Errors
/// Those of the function, and [`Error::OutOfMemory`] and [`Error::Gpu`] for what the device refuses.
pub async fn answered<T>(create: impl FnOnce() -> Result<T, Error>) -> Result<T, Error> {
    let outer = WAITING.replace(Some(Vec::new()));
    let created = create();
    let waiting = WAITING.replace(outer).unwrap_or_default();
    let mut refused = None;
    for mut object in waiting {
        if let Err(error) = poll_fn(|context| object.poll(context)).await {
            refused.get_or_insert(error);
        }
    }
    refused.map_or(created, Err)
}

/// Runs something that creates GPU objects and turns wgpu's reports into an error, so that a bad
/// shader or full memory never reaches the host's error handler.
pub(super) fn guarded<T>(
    device: &wgpu::Device,
    what: &str,
    create: impl FnOnce() -> T,
) -> Result<T, Error> {
    let scopes = [
        wgpu::ErrorFilter::Internal,
        wgpu::ErrorFilter::OutOfMemory,
        wgpu::ErrorFilter::Validation,
    ]
    .map(|filter| device.push_error_scope(filter));
    let created = create();
    // Scopes are a stack: the last one pushed is popped first.
    let answers = scopes.into_iter().rev();
    let mut answers: Vec<Answer> = answers
        .map(|scope| Box::pin(scope.pop()) as Answer)
        .collect();
    answers.reverse();
    let mut object = Created {
        what: what.to_owned(),
        answers,
        worst: None,
    };
    match object.poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(outcome) => outcome.map(|()| created),
        Poll::Pending => WAITING.with_borrow_mut(|waiting| match waiting {
            Some(waiting) => {
                waiting.push(object);
                Ok(created)
            }
            None => Err(Error::Gpu {
                what: what.to_owned(),
                reason: "a browser tells later whether it can be made; make it within \
                         `gpu::answered`"
                    .to_owned(),
            }),
        }),
    }
}

/// Refuses a device that is lost: wgpu makes things on it that are nothing, without a word.
pub(super) fn alive(device: &wgpu::Device) -> Result<(), Error> {
    let probe = guarded(device, "probe", || {
        device.create_buffer(&wgpu::BufferDescriptor {
            label: Some("resnet-wgpu probe"),
            size: 8,
            usage: wgpu::BufferUsages::COPY_DST,
            mapped_at_creation: true,
        })
    })?;
    let mapped = probe.get_mapped_range_mut(..);
    mapped.map(drop).map_err(|_| Error::DeviceLost {
        reason: "it does not answer".to_owned(),
    })
}

/// Whatever goes wrong on a lost device, it is lost.
pub(super) fn named(device: &wgpu::Device, error: Error) -> Error {
    match error {
        Error::Gpu { .. } | Error::Recording { .. } => match alive(device) {
            Err(lost @ Error::DeviceLost { .. }) => lost,
            _ => error,
        },
        other => other,
    }
}

pub(super) fn gpu_error(what: &str, error: &wgpu::Error) -> Error {
    match error {
        wgpu::Error::OutOfMemory { .. } => Error::OutOfMemory {
            what: what.to_owned(),
        },
        _ => Error::Gpu {
            what: what.to_owned(),
            reason: error.to_string(),
        },
    }
}

/// The result of a future that is ready at once.
pub(super) fn ready_now<T>(future: impl Future<Output = T>) -> Option<T> {
    match std::pin::pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(value) => Some(value),
        Poll::Pending => None,
    }
}
