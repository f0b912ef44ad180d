//! Spreads a run over several frames, and compiles pipelines before they are needed.

use std::sync::Arc;

use super::dispatch::Dispatch;
use super::record::Sequence;
use super::runs::Runs;
use super::{Executor, Input, Output};
use crate::error::Error;

/// How much of a run is recorded next.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum Slice<'a> {
    /// This many kernels; zero is an error.
    Steps(usize),
    /// The next of so many parts of about equal work, as the arithmetic of the kernels and what they read and
    /// write let expect; zero is an error.
    Part(u32),
    /// As many kernels as should fit into this time, but at least one.
    Time {
        /// Milliseconds.
        milliseconds: f64,
        /// The time that each kernel of this run took when it was measured, in milliseconds.
        times: &'a [f64],
    },
    /// All remaining kernels.
    Rest,
}

/// A run that is recorded slice by slice, one slice per frame. The result is bit for bit that of
/// [`Executor::record`].
///
/// ```no_run
/// # use resnet_wgpu::{Error, gpu::*, wgpu};
/// # fn frame(executor: &Executor, input: &Input, output: &Output, cursor: &mut Option<Cursor>,
/// # encoder: &mut wgpu::CommandEncoder) -> Result<(), Error> {
/// // Every frame:
/// let run = match cursor {
///     Some(run) => run,
///     None => cursor.insert(executor.start(input, output)?),
/// };
/// if run.record(encoder, Slice::Part(4))? {
///     *cursor = None;
/// }
/// # Ok(())
/// # }
/// ```
///
/// The resources that the input reads must not change between the first slice and the one that
/// reads them, and no other run of the same executor may be recorded in between, because it would
/// overwrite the results so far.
#[derive(Debug)]
pub struct Cursor {
    sequence: Sequence,
    runs: Arc<Runs>,
    /// The number of this run of the executor.
    run: u64,
    next: usize,
    done: bool,
}

impl Executor {
    /// Starts a run that is recorded in slices. A run that was started earlier cannot continue.
    ///
    /// # Errors
    /// [`Error::Recording`] if the input or the output belongs to another executor.
    pub fn start(&self, input: &Input, output: &Output) -> Result<Cursor, Error> {
        Ok(Cursor {
            sequence: Sequence::new(self, input, output)?,
            run: self.runs.start(),
            runs: Arc::clone(&self.runs),
            next: 0,
            done: false,
        })
    }

    /// Prepares every pipeline of a run, to be recorded before the first run.
    ///
    /// # Errors
    /// As [`Self::start`].
    pub fn prewarm(&self, input: &Input, output: &Output) -> Result<Prewarm, Error> {
        let sequence = Sequence::new(self, input, output)?;
        let mut distinct: Vec<Dispatch> = Vec::new();
        for dispatch in sequence.dispatches() {
            if !distinct.iter().any(|d| d.pipeline == dispatch.pipeline) {
                distinct.push(dispatch.of_one_workgroup());
            }
        }
        Ok(Prewarm {
            dispatches: distinct,
            runs: Arc::clone(&self.runs),
            next: 0,
        })
    }
}

impl Cursor {
    /// The number of kernels recorded so far, and that of the whole run.
    pub fn progress(&self) -> (usize, usize) {
        (self.next, self.sequence.len())
    }

    /// Records the next kernels, in one compute pass, and returns whether the run is complete. Like
    /// [`Executor::record`] it creates nothing, submits nothing and polls nothing.
    ///
    /// # Errors
    /// [`Error::Recording`] if the run is already complete, if another run of the executor has been
    /// started since, if the slice is empty, or if the times belong to a run with a different
    /// number of kernels.
    pub fn record(
        &mut self,
        encoder: &mut wgpu::CommandEncoder,
        slice: Slice<'_>,
    ) -> Result<bool, Error> {
        self.check()?;
        let count = self.count(slice)?;
        if self.next == 0 {
            self.sequence.begin(encoder);
        }
        {
            let mut pass = encoder.begin_compute_pass(&wgpu::ComputePassDescriptor {
                label: Some("resnet-wgpu"),
                timestamp_writes: None,
            });
            for dispatch in self.sequence.dispatches().skip(self.next).take(count) {
                dispatch.record(&mut pass);
            }
        }
        self.next += count;
        if self.next == self.sequence.len() {
            self.sequence.end(encoder);
            self.done = true;
        }
        let steps = self.sequence.network_steps(self.next);
        self.runs.recorded(encoder, steps);
        Ok(self.done)
    }

    /// Whether no other run of the executor was started since.
    pub(super) fn is_latest(&self) -> bool {
        self.runs.latest().run == self.run
    }

    fn check(&self) -> Result<(), Error> {
        let reason = if self.done {
            "the run is complete; start another one"
        } else if !self.is_latest() {
            "another run of the executor was started, which overwrites this one's values; start again"
        } else {
            return Ok(());
        };
        Err(Error::Recording {
            reason: reason.to_owned(),
        })
    }

    /// The number of kernels in a slice, at most those that are left.
    fn count(&self, slice: Slice<'_>) -> Result<usize, Error> {
        let total = self.sequence.len();
        let left = total - self.next;
        match slice {
            Slice::Rest => Ok(left),
            Slice::Steps(0) => Err(Error::Recording {
                reason: "a slice of no steps never completes the run".to_owned(),
            }),
            Slice::Steps(steps) => Ok(steps.min(left)),
            Slice::Part(0) => Err(Error::Recording {
                reason: "a run has one part at least".to_owned(),
            }),
            Slice::Part(parts) => Ok(next_part(self.sequence.work(), self.next, parts)),
            Slice::Time {
                milliseconds,
                times,
            } => {
                if times.len() != total {
                    return Err(Error::Recording {
                        reason: format!(
                            "the times are of a run of {} steps, this one has {total}; measure it \
                             with the same input and output",
                            times.len()
                        ),
                    });
                }
                let mut sum = 0.0;
                let fits = times[self.next..].iter().take_while(|&&time| {
                    sum += time;
                    sum <= milliseconds
                });
                Ok(fits.count().max(1).min(left))
            }
        }
    }
}

/// The number of kernels from `next` on that make up the next of so many parts: those that begin before its end,
/// and those without work behind the last one.
fn next_part(work: impl Iterator<Item = f64>, next: usize, parts: u32) -> usize {
    let work: Vec<f64> = work.collect();
    let part = work.iter().sum::<f64>() / f64::from(parts);
    let mut done: f64 = work[..next].iter().sum();
    // Rounding must not leave a part without its last kernel.
    let almost = part * 1e-9;
    let end = ((done + almost) / part).floor() * part + part - almost;
    let inside = work[next..].iter().take_while(|&&work| {
        let begins = done;
        done += work;
        begins < end || work == 0.0
    });
    inside.count().max(1).min(work.len() - next)
}

/// Dispatches of one workgroup, one for each pipeline of a run.
///
/// Some drivers, especially software ones, compile a pipeline when it first runs, which would
/// freeze a frame for seconds. A host records a few of these in each frame while it shows their
/// progress, and then starts its first run. They overwrite the results of earlier runs.
#[derive(Debug)]
pub struct Prewarm {
    dispatches: Vec<Dispatch>,
    runs: Arc<Runs>,
    next: usize,
}

impl Prewarm {
    /// The number of pipelines recorded so far, and that of all.
    pub fn progress(&self) -> (usize, usize) {
        (self.next, self.dispatches.len())
    }

    /// Records the next pipelines, at most `count`, and returns whether they were the last.
    /// Recording none, or recording after the last one, does nothing.
    pub fn record(&mut self, encoder: &mut wgpu::CommandEncoder, count: usize) -> bool {
        let end = self.next.saturating_add(count).min(self.dispatches.len());
        if self.next < end {
            self.runs.start();
            let mut pass = encoder.begin_compute_pass(&wgpu::ComputePassDescriptor {
                label: Some("resnet-wgpu prewarm"),
                timestamp_writes: None,
            });
            for dispatch in &self.dispatches[self.next..end] {
                dispatch.record(&mut pass);
            }
            self.next = end;
        }
        self.is_done()
    }
}

#[doc(hidden)]
impl Cursor {
    /// Whether everything has been recorded.
    pub fn is_done(&self) -> bool {
        self.done
    }
}

#[doc(hidden)]
impl Prewarm {
    /// Whether every pipeline has been recorded.
    pub fn is_done(&self) -> bool {
        self.next == self.dispatches.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(work: &[f64], parts: u32) -> Vec<usize> {
        let mut counts = Vec::new();
        let mut next = 0;
        while next < work.len() {
            let count = next_part(work.iter().copied(), next, parts);
            counts.push(count);
            next += count;
        }
        counts
    }

    #[test]
    fn parts_have_equal_work_and_never_become_more() {
        let even = [0.0, 0.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 0.0];
        assert_eq!(parts(&even, 1), [9]);
        assert_eq!(parts(&even, 2), [5, 4]);
        assert_eq!(parts(&even, 3), [4, 2, 3]);
        assert_eq!(parts(&even, 6), [3, 1, 1, 1, 1, 2]);
        // More parts than kernels: one after the other.
        assert_eq!(parts(&even, 60).len(), 6);
        assert_eq!(parts(&[0.1, 8.0, 0.1, 0.1, 0.7], 3), [2, 3], "one is large");
        assert_eq!(parts(&[0.0; 3], 2).iter().sum::<usize>(), 3, "no work");
        let thirds = [1.0 / 3.0; 300];
        for count in [7, 10, 13, 100] {
            let got = parts(&thirds, count);
            assert_eq!(got.len(), count as usize, "{got:?}");
            let (least, most) = (got.iter().min(), got.iter().max());
            assert!(most <= least.map(|least| least + 1).as_ref(), "{got:?}");
        }
    }
}
