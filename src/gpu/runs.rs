//! How far the latest recorded run of an executor has got, and proof of what the device has run.

use std::sync::{Mutex, MutexGuard, PoisonError};

use super::resources::{create_scratch, create_table};
use crate::error::Error;

/// As many recordings in a row can be told apart.
const STAMPS: u32 = 256;

/// Bytes of a stamp.
pub(super) const STAMP_BYTES: u64 = 4;

/// What has been recorded for an executor, on the host and on the device.
///
/// Commands may be dropped, submitted in another order, or fail with others of the host's. So each
/// recording leaves its number on the device, and whoever reads results reads the number too.
#[derive(Debug)]
pub(super) struct Runs {
    latest: Mutex<Latest>,
    /// All stamps in order.
    stamps: wgpu::Buffer,
    /// The number of the recording that ran last.
    current: wgpu::Buffer,
}

/// The latest recording.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Latest {
    /// The number of its run, from 1 on.
    pub(super) run: u64,
    /// The dispatches of the network that its run has recorded.
    pub(super) steps: usize,
    recordings: u32,
}

impl Latest {
    /// The number that it leaves on the device.
    pub(super) fn stamp(&self) -> u32 {
        self.recordings % STAMPS
    }
}

impl Runs {
    pub(super) fn new(device: &wgpu::Device) -> Result<Self, Error> {
        let numbers: Vec<u32> = (0..STAMPS).collect();
        let usage = wgpu::BufferUsages::COPY_SRC | wgpu::BufferUsages::COPY_DST;
        Ok(Self {
            latest: Mutex::default(),
            stamps: create_table(device, "stamps", &numbers)?,
            current: create_scratch(device, "stamp", STAMP_BYTES, usage)?,
        })
    }

    pub(super) fn latest(&self) -> Latest {
        *self.lock()
    }

    /// Starts a run, and returns its number. Until it records something, no value is complete.
    pub(super) fn start(&self) -> u64 {
        let mut latest = self.lock();
        latest.run += 1;
        latest.steps = 0;
        latest.run
    }

    /// Notes that the latest run is recorded up to this number of dispatches of the network.
    pub(super) fn recorded(&self, encoder: &mut wgpu::CommandEncoder, steps: usize) {
        let mut latest = self.lock();
        latest.steps = steps;
        latest.recordings = latest.recordings.wrapping_add(1);
        let from = u64::from(latest.stamp()) * STAMP_BYTES;
        encoder.copy_buffer_to_buffer(&self.stamps, from, &self.current, 0, STAMP_BYTES);
    }

    /// Records a copy of the stamp of whatever ran last.
    pub(super) fn copy_stamp(
        &self,
        encoder: &mut wgpu::CommandEncoder,
        to: &wgpu::Buffer,
        at: u64,
    ) {
        encoder.copy_buffer_to_buffer(&self.current, 0, to, at, STAMP_BYTES);
    }

    fn lock(&self) -> MutexGuard<'_, Latest> {
        // Plain numbers: a panic elsewhere cannot leave them half-changed.
        self.latest.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
