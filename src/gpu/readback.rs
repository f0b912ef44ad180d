//! Copies outputs back to the host without blocking it.

use std::future::poll_fn;
use std::sync::Arc;
use std::task::{Context, Poll};

use super::ring::Ring;
use super::runs::{Latest, Runs, STAMP_BYTES};
use super::{Executor, alive, named};
use crate::answer;
use crate::error::Error;
use crate::plan::{OutputKey, PlannedOutput};
use crate::tensor::{Tensor, unpack};

/// Runs whose results can be on their way at the same time.
const IN_FLIGHT: usize = 3;

/// Host-visible copies of some outputs of an [`Executor`], of up to three runs at a time.
///
/// Record the copies after a run, and submit them when you like; then await [`Readback::read`], or call
/// [`Readback::try_read`] in every frame. Results arrive when the host polls its device or submits
/// again; nothing here polls. Each comes with the number of its run, which [`Readback::record`]
/// returned.
///
/// No order of these calls is wrong: what is never submitted never arrives, and a value that the run
/// did not compute is an error.
#[derive(Debug)]
pub struct Readback {
    device: wgpu::Device,
    runs: Arc<Runs>,
    parts: Vec<Part>,
    /// Where the stamp of the run lies: behind the outputs.
    stamp_at: u64,
    /// Whether the program waits for each run, and compares: it gets numbers whatever they are.
    waits: bool,
    copies: Ring<Latest>,
}

/// One output within a host-visible buffer.
#[derive(Debug)]
struct Part {
    output: PlannedOutput,
    source: wgpu::Buffer,
    /// The dispatches of the network until it is complete.
    complete_after: usize,
    offset: u64,
    bytes: u64,
}

/// The number of a run, and its results.
type Results = (u64, Vec<Tensor>);

impl Readback {
    /// Reads back all outputs of an executor.
    ///
    /// # Errors
    /// [`Error::OutOfMemory`] and [`Error::Gpu`] if the buffers cannot be created.
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
        let mut parts = Vec::new();
        for key in keys {
            parts.push(key.into().find(executor.outputs())?);
        }
        Self::with_room(device, executor, parts, IN_FLIGHT)
    }

    /// All outputs, of one run at a time, for a program that waits for each run.
    pub(crate) fn for_waiting(device: &wgpu::Device, executor: &Executor) -> Result<Self, Error> {
        let all = (0..executor.outputs().len()).collect();
        let mut readback = Self::with_room(device, executor, all, 1)?;
        readback.waits = true;
        Ok(readback)
    }

    fn with_room(
        device: &wgpu::Device,
        executor: &Executor,
        outputs: Vec<usize>,
        count: usize,
    ) -> Result<Self, Error> {
        alive(device)?;
        let mut end = 0;
        let parts = outputs.into_iter().map(|index| {
            let (output, complete_after) = executor.output_at(index);
            let (offset, bytes) = (end, output.shape.packed_len() as u64 * 4);
            end += bytes;
            Part {
                output: output.clone(),
                source: executor.buffer(output.allocation).clone(),
                complete_after,
                offset,
                bytes,
            }
        });
        Ok(Self {
            device: device.clone(),
            parts: parts.collect(),
            runs: Arc::clone(&executor.runs),
            stamp_at: end,
            waits: false,
            copies: Ring::new(device, "readback", end + STAMP_BYTES, count)?,
        })
    }

    /// Records the copies of the results of the latest run, and returns its number; `None` if the
    /// results of three runs are in flight, in which case nothing is recorded.
    ///
    /// # Errors
    /// [`Error::Recording`] if the run has not computed one of the values.
    pub fn record(&self, encoder: &mut wgpu::CommandEncoder) -> Result<Option<u64>, Error> {
        let run = self.runs.latest();
        let mut parts = self.parts.iter();
        if let Some(part) = parts.find(|part| part.complete_after > run.steps) {
            return Err(Error::Recording {
                reason: format!(
                    "the latest run has not computed '{}'; record a run before, whose output keeps it",
                    part.output.name
                ),
            });
        }
        if self.waits {
            // Nobody read the results of a run that failed.
            self.copies.forget_one();
        }
        let recorded = self.copies.record(encoder, run, |encoder, buffer| {
            for part in &self.parts {
                encoder.copy_buffer_to_buffer(&part.source, 0, buffer, part.offset, part.bytes);
            }
            self.runs.copy_stamp(encoder, buffer, self.stamp_at);
        });
        Ok(recorded.then_some(run.run))
    }

    /// The results that arrive first, and the number of their run: NCHW, in the order of
    /// [`Executor::outputs`], or in that given to [`Readback::of`].
    ///
    /// # Errors
    /// [`Error::Recording`] if nothing is in flight, and if the device did not run the commands of the
    /// run; [`Error::DeviceLost`] if it was lost; [`Error::NoAnswer`] for numbers that are no answer.
    pub async fn read(&self) -> Result<(u64, Vec<Tensor>), Error> {
        let results = poll_fn(|context| self.poll(Some(context))).await?;
        results.ok_or_else(|| Error::Recording {
            reason: "there are no results to wait for; record their copies and submit them first"
                .to_owned(),
        })
    }

    /// Does what [`Readback::read`] does for a host that looks once per frame: it returns `None`
    /// until results have arrived. Those of several runs may have.
    ///
    /// # Errors
    /// As [`Readback::read`]; but that nothing is in flight is none.
    pub fn try_read(&self) -> Result<Option<(u64, Vec<Tensor>)>, Error> {
        match self.poll(None) {
            Poll::Ready(results) => results,
            Poll::Pending => Ok(None),
        }
    }

    /// What is read.
    pub(super) fn outputs(&self) -> impl Iterator<Item = &PlannedOutput> {
        self.parts.iter().map(|part| &part.output)
    }

    fn poll(&self, context: Option<&mut Context<'_>>) -> Poll<Result<Option<Results>, Error>> {
        let read = |run: Latest, bytes: &[u8]| Ok((run.run, self.results(run, bytes)?));
        let arrived = self.copies.poll(context, read);
        arrived.map(|results| {
            let results = results.map(Result::flatten).transpose();
            results.map_err(|error| named(&self.device, error))
        })
    }

    fn results(&self, run: Latest, bytes: &[u8]) -> Result<Vec<Tensor>, Error> {
        if bytes[range(self.stamp_at, STAMP_BYTES)] != run.stamp().to_ne_bytes() {
            return Err(Error::Recording {
                reason: format!(
                    "there are no results of run {}: its commands were dropped, submitted in another \
                     order, or refused by the device",
                    run.run
                ),
            });
        }
        let tensors = self.parts.iter().map(|part| part.tensor(bytes));
        let tensors = tensors.collect::<Result<Vec<_>, Error>>()?;
        if !self.waits {
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

impl Part {
    fn tensor(&self, bytes: &[u8]) -> Result<Tensor, Error> {
        let shape = self.output.shape;
        let packed: Vec<f32> = bytemuck::pod_collect_to_vec(&bytes[range(self.offset, self.bytes)]);
        Tensor::new(&shape.dims(), unpack(shape, &packed))
    }
}

/// A part of a mapped buffer, which is far smaller than memory.
fn range(offset: u64, bytes: u64) -> std::ops::Range<usize> {
    let index = |at: u64| usize::try_from(at).unwrap_or(usize::MAX);
    index(offset)..index(offset + bytes)
}
