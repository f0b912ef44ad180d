//! A blocking interface on top of the other parts; its body shows how to use them.

use std::future::Future;
use std::ops::Range;
use std::pin::pin;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use super::{
    BuildProgress, Capabilities, Context, Executor, Input, Output, Readback, Slice, StepClock,
    StepSpan, StepTimer, alive, check_room, named, pace::Pace, ready_now, warm_up,
};
use crate::clock::Instant;
use crate::error::Error;
use crate::plan::Plan;
use crate::tensor::Tensor;

/// Runs of several threads that are under way at the same time: the next is uploaded while one computes.
const UNDER_WAY: usize = 2;

/// How long a thread waits for results of a device that has finished: another one may have been told.
const SOON: Duration = Duration::from_secs(1);

/// A plan on the device of a [`Context`]: tensors in, tensors out, waiting for each run.
///
/// Threads may share it: while one waits for its run, another uploads and submits the next.
#[derive(Debug)]
pub struct Session {
    context: Context,
    executor: Executor,
    /// The runs so far. Held from an upload to the last submission of its run.
    turn: Mutex<usize>,
    /// Each is held until its results are read.
    readbacks: [Mutex<Readback>; UNDER_WAY],
    total_timer: Option<StepTimer>,
    /// `None` if the device cannot time single kernels.
    step_timer: Option<StepTimer>,
    pace: Pace,
}

impl Session {
    /// Builds the executor and everything around it.
    ///
    /// # Errors
    /// As [`Executor::new`].
    pub fn new(context: &Context, plan: &Plan) -> Result<Self, Error> {
        Self::with_progress(context, plan, &mut |_| ())
    }

    /// The executor.
    #[doc(hidden)]
    pub fn executor(&self) -> &Executor {
        &self.executor
    }

    /// Runs on an NCHW tensor and returns the graph's outputs, NCHW.
    ///
    /// # Errors
    /// [`Error::Input`] for a tensor of the wrong shape, [`Error::Gpu`], [`Error::DeviceLost`] and
    /// [`Error::OutOfMemory`] if the device fails.
    pub fn run(&self, input: &Tensor) -> Result<Vec<Tensor>, Error> {
        self.run_after(|queue| self.executor.write_tensor(queue, input))
    }

    /// Uploads and submits in turn, and waits for this run alone.
    fn run_after(
        &self,
        upload: impl FnOnce(&wgpu::Queue) -> Result<(), Error>,
    ) -> Result<Vec<Tensor>, Error> {
        let mut turn = lock(&self.turn);
        *turn += 1;
        let readback = lock(&self.readbacks[*turn % UNDER_WAY]);
        upload(&self.context.queue)?;
        let last = self.submit_paced(|encoder| readback.record(encoder).map(drop))?;
        drop(turn);
        self.finish(last)?;
        let (_, outputs) = self.wait_for(readback.read())?;
        Ok(outputs)
    }

    fn submit(
        &self,
        record: impl FnOnce(&mut wgpu::CommandEncoder) -> Result<(), Error>,
    ) -> Result<wgpu::SubmissionIndex, Error> {
        alive(&self.context.device)?;
        let mut encoder =
            self.context
                .device
                .create_command_encoder(&wgpu::CommandEncoderDescriptor {
                    label: Some("resnet-wgpu"),
                });
        record(&mut encoder)?;
        Ok(self.context.queue.submit([encoder.finish()]))
    }

    fn submit_and_wait(
        &self,
        record: impl FnOnce(&mut wgpu::CommandEncoder) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let submission = self.submit(record)?;
        self.wait(submission)
    }

    fn wait(&self, submission: wgpu::SubmissionIndex) -> Result<(), Error> {
        let done = self.context.wait(Some(submission));
        done.map_err(|error| named(&self.context.device, error))
    }

    /// Records a run on the last upload, in as many submissions as it takes to let none be too long, and
    /// waits for all but the last; `after` is recorded behind the last kernel.
    fn submit_paced(
        &self,
        after: impl Fn(&mut wgpu::CommandEncoder) -> Result<(), Error>,
    ) -> Result<Submitted, Error> {
        let (input, output) = (Input::uploaded(), Output::kept());
        let whole = self.pace.fits();
        let mut run = self.executor.start(&input, &output)?;
        loop {
            let (start, first) = (Instant::now(), run.progress().0);
            let slice = if whole {
                Slice::Rest
            } else {
                self.pace.slice()
            };
            let submission = self.submit(|encoder| {
                if run.record(encoder, slice)? {
                    after(encoder)?;
                }
                Ok(())
            })?;
            let submitted = Submitted {
                submission,
                steps: first..run.progress().0,
                start,
            };
            if run.is_done() {
                return Ok(submitted);
            }
            self.finish(submitted)?;
        }
    }

    /// Waits for a part of a run, and learns what it took.
    fn finish(&self, submitted: Submitted) -> Result<(), Error> {
        self.wait(submitted.submission)?;
        self.pace.learn(submitted.steps, submitted.start);
        Ok(())
    }

    /// Waits for a buffer to be mapped, of which the device has finished the commands.
    fn wait_for<T>(&self, mapped: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
        let mut mapped = pin!(mapped);
        let start = Instant::now();
        loop {
            if let Some(result) = ready_now(mapped.as_mut()) {
                return result.map_err(|error| named(&self.context.device, error));
            }
            self.context
                .wait(None)
                .map_err(|error| named(&self.context.device, error))?;
            if start.elapsed() > SOON {
                return Err(named(
                    &self.context.device,
                    Error::Gpu {
                        what: "readback".to_owned(),
                        reason: "the device did not finish".to_owned(),
                    },
                ));
            }
            // The thread that is told of it may be another one that waits.
            thread::yield_now();
        }
    }
}

/// A part of a run on its way.
struct Submitted {
    submission: wgpu::SubmissionIndex,
    steps: Range<usize>,
    start: Instant,
}

/// A panic elsewhere leaves a number, or copies that the next run forgets.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[doc(hidden)]
impl Session {
    /// Does what [`Session::new`] does and reports its progress.
    ///
    /// # Errors
    /// As [`Executor::new`].
    pub fn with_progress(
        context: &Context,
        plan: &Plan,
        progress: &mut dyn FnMut(BuildProgress),
    ) -> Result<Self, Error> {
        let Context {
            device,
            queue,
            pipelines,
            ..
        } = context;
        check_room(device, plan)?;
        let launches = plan.steps().iter().map(|step| &step.launch);
        pipelines.make(launches.clone(), progress)?;
        let executor = warm_up::compile_during(context, launches, || {
            Executor::build(queue, plan, pipelines, None, progress)
        })?;
        let step_timer = match StepClock::of(device) {
            StepClock::Device => StepTimer::new(device, queue, executor.dispatch_count())?,
            StepClock::Host => None,
        };
        Ok(Self {
            turn: Mutex::default(),
            readbacks: [
                Mutex::new(Readback::for_waiting(device, &executor)?),
                Mutex::new(Readback::for_waiting(device, &executor)?),
            ],
            total_timer: StepTimer::new(device, queue, 1)?,
            step_timer,
            pace: Pace::new(plan, Capabilities::of(device).device.class),
            executor,
            context: context.clone(),
        })
    }

    /// The device.
    pub fn context(&self) -> &Context {
        &self.context
    }

    /// Runs on RGBA8 pixels, N×H×W×4 bytes.
    ///
    /// # Errors
    /// As [`Session::run`].
    pub fn run_pixels(&self, rgba: &[u8]) -> Result<Vec<Tensor>, Error> {
        self.run_after(|queue| self.executor.write_pixels(queue, rgba))
    }

    /// Runs on the last upload.
    ///
    /// # Errors
    /// [`Error::Gpu`] if the device fails.
    pub fn run_uploaded(&self) -> Result<Vec<Tensor>, Error> {
        self.run_after(|_| Ok(()))
    }

    /// Runs on the last upload, reads nothing back, and returns the GPU's own time in milliseconds
    /// if the device has timestamps and the run is not too long for one submission.
    ///
    /// # Errors
    /// [`Error::Gpu`] if the device fails.
    pub fn run_timed(&self) -> Result<Option<f64>, Error> {
        let _turn = lock(&self.turn);
        let Some(timer) = self.total_timer.as_ref().filter(|_| self.pace.fits()) else {
            let last = self.submit_paced(|_| Ok(()))?;
            return self.finish(last).map(|()| None);
        };
        let (input, output) = (Input::uploaded(), Output::kept());
        let start = Instant::now();
        self.submit_and_wait(|encoder| {
            self.executor
                .record_total_timed(encoder, &input, &output, timer)
        })?;
        self.pace.learn(0..self.executor.dispatch_count(), start);
        let times = self.wait_for(timer.times())?;
        Ok(times.first().copied())
    }

    /// The submissions of the latest run.
    pub fn submissions(&self) -> usize {
        self.pace.submissions()
    }

    /// Sets the time that a submission may take, in milliseconds; half a second unless it is set.
    pub fn set_submission_budget(&self, milliseconds: f64) {
        self.pace.set_budget(milliseconds);
    }

    /// The clock that [`Session::run_spans`] and [`Session::run_step_timed`] use.
    pub const fn step_clock(&self) -> StepClock {
        match self.step_timer {
            Some(_) => StepClock::Device,
            None => StepClock::Host,
        }
    }

    /// Runs on the last upload, dispatch by dispatch, and returns the milliseconds of each.
    ///
    /// # Errors
    /// [`Error::Gpu`] if the device fails.
    pub fn run_step_timed(&self) -> Result<Vec<f64>, Error> {
        let spans = self.run_spans()?;
        Ok(spans.iter().map(StepSpan::milliseconds).collect())
    }

    /// Does what [`Session::run_step_timed`] does, but returns when each dispatch began and ended.
    ///
    /// # Errors
    /// [`Error::Gpu`] if the device fails.
    pub fn run_spans(&self) -> Result<Vec<StepSpan>, Error> {
        let _turn = lock(&self.turn);
        let (input, output) = (Input::uploaded(), Output::kept());
        if let Some(timer) = &self.step_timer {
            self.submit_and_wait(|encoder| {
                self.executor.record_timed(encoder, &input, &output, timer)
            })?;
            return self.wait_for(timer.spans());
        }
        let mut run = self.executor.start(&input, &output)?;
        let start = Instant::now();
        let now = || start.elapsed().as_secs_f64() * 1e3;
        let mut spans = Vec::with_capacity(run.progress().1);
        while !run.is_done() {
            let begin_ms = now();
            self.submit_and_wait(|encoder| run.record(encoder, Slice::Steps(1)).map(drop))?;
            spans.push(StepSpan {
                begin_ms,
                end_ms: now(),
            });
        }
        Ok(spans)
    }
}
