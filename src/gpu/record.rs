//! Records a run into the host's encoder, with or without timestamps.

use std::sync::Arc;

use super::dispatch::Dispatch;
use super::{Executor, Input, Output, StepTimer};
use crate::error::Error;

/// Everything that is recorded for a run, in order.
#[derive(Clone, Debug)]
pub(super) struct Sequence {
    input: Input,
    network: Arc<[Dispatch]>,
    work: Arc<[f64]>,
    /// The number of dispatches of the network that the output needs.
    network_steps: usize,
    output: Output,
}

impl Sequence {
    pub(super) fn new(executor: &Executor, input: &Input, output: &Output) -> Result<Self, Error> {
        let stranger = |what: &str| Error::Recording {
            reason: format!("the {what} was made for another executor; make one for this executor"),
        };
        if input.owner().is_some_and(|owner| owner != executor.id) {
            return Err(stranger("input"));
        }
        if output.owner().is_some_and(|owner| owner != executor.id) {
            return Err(stranger("output"));
        }
        Ok(Self {
            input: input.clone(),
            network: Arc::clone(&executor.dispatches),
            work: Arc::clone(&executor.work),
            network_steps: output.network_steps().unwrap_or(executor.dispatches.len()),
            output: output.clone(),
        })
    }

    /// The number of dispatches.
    pub(super) fn len(&self) -> usize {
        self.input.dispatches().len() + self.network_steps + self.output.dispatches().len()
    }

    /// The dispatches of the network among the first ones.
    pub(super) fn network_steps(&self, done: usize) -> usize {
        done.saturating_sub(self.input.dispatches().len())
            .min(self.network_steps)
    }

    /// Dispatches from the first one on: those of the input, of the network, of the output.
    pub(super) fn dispatches(&self) -> impl Iterator<Item = &Dispatch> {
        self.input
            .dispatches()
            .iter()
            .chain(&self.network[..self.network_steps])
            .chain(self.output.dispatches())
    }

    /// The work of each dispatch, compared to the others; that of the input and of the output is little.
    pub(super) fn work(&self) -> impl Iterator<Item = f64> {
        let none = |dispatches: &[Dispatch]| std::iter::repeat_n(0.0, dispatches.len());
        let network = self.work[..self.network_steps].iter().copied();
        none(self.input.dispatches())
            .chain(network)
            .chain(none(self.output.dispatches()))
    }

    /// Records what precedes the first dispatch.
    pub(super) fn begin(&self, encoder: &mut wgpu::CommandEncoder) {
        self.input.record_copy(encoder);
    }

    /// Records what follows the last dispatch.
    pub(super) fn end(&self, encoder: &mut wgpu::CommandEncoder) {
        self.output.record_copies(encoder);
    }
}

impl Executor {
    /// Records a run: the copies and kernels of the input, the network as far as the output needs
    /// it, the kernels and copies of the output. All kernels run in one compute pass. This creates
    /// nothing on the device, submits nothing and polls nothing.
    ///
    /// # Errors
    /// [`Error::Recording`] if the input or the output belongs to another executor.
    pub fn record(
        &self,
        encoder: &mut wgpu::CommandEncoder,
        input: &Input,
        output: &Output,
    ) -> Result<(), Error> {
        self.record_in_one_pass(encoder, input, output, None)
    }

    fn record_in_one_pass(
        &self,
        encoder: &mut wgpu::CommandEncoder,
        input: &Input,
        output: &Output,
        timestamp_writes: Option<wgpu::ComputePassTimestampWrites<'_>>,
    ) -> Result<(), Error> {
        let sequence = Sequence::new(self, input, output)?;
        self.runs.start();
        sequence.begin(encoder);
        {
            let mut pass = encoder.begin_compute_pass(&wgpu::ComputePassDescriptor {
                label: Some("resnet-wgpu"),
                timestamp_writes,
            });
            for dispatch in sequence.dispatches() {
                dispatch.record(&mut pass);
            }
        }
        sequence.end(encoder);
        self.runs.recorded(encoder, sequence.network_steps);
        Ok(())
    }

    /// Does what [`Self::record`] does, with every kernel in its own compute pass and timestamps
    /// around each.
    ///
    /// # Errors
    /// As [`Self::record`]; also [`Error::Recording`] if the timer has fewer steps than
    /// [`Self::step_count`].
    #[doc(hidden)]
    pub fn record_timed(
        &self,
        encoder: &mut wgpu::CommandEncoder,
        input: &Input,
        output: &Output,
        timer: &StepTimer,
    ) -> Result<(), Error> {
        let sequence = Sequence::new(self, input, output)?;
        if timer.steps() != sequence.len() {
            return Err(Error::Recording {
                reason: format!(
                    "the timer is for {} steps, the run has {}",
                    timer.steps(),
                    sequence.len()
                ),
            });
        }
        self.runs.start();
        sequence.begin(encoder);
        for (index, dispatch) in sequence.dispatches().enumerate() {
            let mut pass = encoder.begin_compute_pass(&wgpu::ComputePassDescriptor {
                label: Some("resnet-wgpu"),
                timestamp_writes: timer.writes_of(index),
            });
            dispatch.record(&mut pass);
        }
        sequence.end(encoder);
        self.runs.recorded(encoder, sequence.network_steps);
        timer.resolve(encoder);
        Ok(())
    }

    /// The number of kernels in a run: those of the input, of the network as far as the output
    /// needs it, and of the output.
    ///
    /// # Errors
    /// As [`Self::record`].
    #[doc(hidden)]
    pub fn step_count(&self, input: &Input, output: &Output) -> Result<usize, Error> {
        Ok(Sequence::new(self, input, output)?.len())
    }
}

#[doc(hidden)]
impl Executor {
    /// Does what [`Self::record`] does, with timestamps before the first kernel and after the last.
    ///
    /// # Errors
    /// As [`Self::record`].
    pub fn record_total_timed(
        &self,
        encoder: &mut wgpu::CommandEncoder,
        input: &Input,
        output: &Output,
        timer: &StepTimer,
    ) -> Result<(), Error> {
        self.record_in_one_pass(encoder, input, output, timer.writes_of(0))?;
        timer.resolve(encoder);
        Ok(())
    }
}

/// A copy of pixels to a texture of the host.
#[derive(Debug)]
pub(super) struct TextureCopy {
    pub(super) from: wgpu::Buffer,
    pub(super) layout: wgpu::TexelCopyBufferLayout,
    pub(super) to: wgpu::Texture,
    pub(super) origin: wgpu::Origin3d,
    pub(super) size: wgpu::Extent3d,
}
