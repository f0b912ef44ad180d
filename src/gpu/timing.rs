//! The time of each kernel: by timestamp queries if they can be trusted, otherwise by the host's
//! clock.

use std::future::poll_fn;

use serde::Serialize;

use super::ring::Ring;
use super::{alive, guarded};
use crate::error::Error;

/// What errors name.
const WHAT: &str = "timestamps";

/// Runs whose times can be on their way at the same time.
const IN_FLIGHT: usize = 3;

/// WebGPU allows this many queries in one set.
const MAX_QUERIES: u32 = 4096;

/// The clock that measures single kernels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum StepClock {
    /// The device's timestamps around each kernel, without the time between kernels.
    Device,
    /// The host's clock, from the submission of a kernel until it is done.
    Host,
}

impl StepClock {
    /// The clock that can be trusted for single kernels: that of the device, unless it has no
    /// timestamp queries or is software. llvmpipe (Mesa 22.3) writes the timestamp at the end of a
    /// pass before the pass is done, so milliseconds of work appear as a hundredth of one.
    pub fn of(device: &wgpu::Device) -> Self {
        let is_software = device.adapter_info().device_type == wgpu::DeviceType::Cpu;
        let has_queries = device.features().contains(wgpu::Features::TIMESTAMP_QUERY);
        if has_queries && !is_software {
            Self::Device
        } else {
            Self::Host
        }
    }
}

/// Timestamps around a number of compute passes. With [`StepClock::Host`] those around single
/// kernels cannot be trusted; use the host's clock there to time the slices of a
/// [`Cursor`](super::Cursor).
#[derive(Debug)]
pub struct StepTimer {
    queries: wgpu::QuerySet,
    query_count: u32,
    resolved: wgpu::Buffer,
    copies: Ring<()>,
    period_ns: f32,
}

impl StepTimer {
    /// Creates a timer for some passes, or `None` if the device has no timestamp queries.
    ///
    /// # Errors
    /// [`Error::OutOfMemory`] and [`Error::Gpu`] if the queries cannot be created.
    pub fn new(
        device: &wgpu::Device,
        queue: &wgpu::Queue,
        passes: usize,
    ) -> Result<Option<Self>, Error> {
        let query_count = u32::try_from(passes).unwrap_or(u32::MAX).saturating_mul(2);
        let available = device.features().contains(wgpu::Features::TIMESTAMP_QUERY);
        if !available || query_count > MAX_QUERIES || query_count == 0 {
            return Ok(None);
        }
        alive(device)?;
        let bytes = u64::from(query_count) * 8;
        let copies = Ring::new(device, WHAT, bytes, IN_FLIGHT)?;
        guarded(device, WHAT, || {
            Some(Self {
                queries: device.create_query_set(&wgpu::QuerySetDescriptor {
                    label: Some("resnet-wgpu timestamps"),
                    ty: wgpu::QueryType::Timestamp,
                    count: query_count,
                }),
                query_count,
                resolved: device.create_buffer(&wgpu::BufferDescriptor {
                    label: Some("resnet-wgpu timestamps"),
                    size: bytes,
                    usage: wgpu::BufferUsages::QUERY_RESOLVE | wgpu::BufferUsages::COPY_SRC,
                    mapped_at_creation: false,
                }),
                copies,
                period_ns: queue.get_timestamp_period(),
            })
        })
    }

    /// The timestamp queries around a pass.
    pub(super) fn writes_of(&self, pass: usize) -> Option<wgpu::ComputePassTimestampWrites<'_>> {
        let first = u32::try_from(pass).ok()?.checked_mul(2)?;
        (first + 1 < self.query_count).then_some(wgpu::ComputePassTimestampWrites {
            query_set: &self.queries,
            beginning_of_pass_write_index: Some(first),
            end_of_pass_write_index: Some(first + 1),
        })
    }

    /// Records the copies of the timestamps, unless those of three runs are in flight.
    pub(super) fn resolve(&self, encoder: &mut wgpu::CommandEncoder) {
        encoder.resolve_query_set(&self.queries, 0..self.query_count, &self.resolved, 0);
        // Times that nobody reads must not keep later ones from being read.
        self.copies.forget_one();
        self.copies.record(encoder, (), |encoder, buffer| {
            encoder.copy_buffer_to_buffer(&self.resolved, 0, buffer, 0, buffer.size());
        });
    }

    /// The number of passes that it can time.
    pub(super) fn steps(&self) -> usize {
        self.query_count as usize / 2
    }

    /// The milliseconds that each pass of a run took: of the first of at most three timed runs whose
    /// times were not read. The future completes when the host polls its device or submits again; it
    /// never polls itself.
    ///
    /// # Errors
    /// [`Error::Gpu`] if the device was lost; [`Error::Recording`] if no timed run is in flight.
    pub async fn times(&self) -> Result<Vec<f64>, Error> {
        let spans = self.spans().await?;
        Ok(spans.iter().map(StepSpan::milliseconds).collect())
    }

    #[expect(
        clippy::cast_precision_loss,
        reason = "a difference of ticks within one run is far below 2^53"
    )]
    fn milliseconds(&self, begin: u64, end: u64) -> f64 {
        end.saturating_sub(begin) as f64 * f64::from(self.period_ns) * 1e-6
    }
}

#[doc(hidden)]
impl StepTimer {
    /// When each pass began and ended; otherwise as [`Self::times`].
    ///
    /// # Errors
    /// As [`Self::times`].
    pub async fn spans(&self) -> Result<Vec<StepSpan>, Error> {
        let read = |(), bytes: &[u8]| bytemuck::pod_collect_to_vec(bytes);
        let ticks = poll_fn(|context| self.copies.poll(Some(context), read)).await;
        let ticks: Vec<u64> = ticks.ok_or_else(|| Error::Recording {
            reason: "there are no times to wait for; record a timed run and submit it first"
                .to_owned(),
        })??;
        let start = ticks.iter().copied().min().unwrap_or(0);
        let passes = ticks.chunks_exact(2);
        Ok(passes
            .map(|pair| StepSpan {
                begin_ms: self.milliseconds(start, pair[0]),
                end_ms: self.milliseconds(start, pair[1]),
            })
            .collect())
    }
}

/// When a kernel ran, in milliseconds since the first one of its run began.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct StepSpan {
    /// When it began.
    pub begin_ms: f64,
    /// When it ended.
    pub end_ms: f64,
}

impl StepSpan {
    /// How long it took.
    pub fn milliseconds(&self) -> f64 {
        (self.end_ms - self.begin_ms).max(0.0)
    }
}
