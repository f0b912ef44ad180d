//! Images that are prepared and run while others are read, and while answers are taken.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use rayon::{Scope, ThreadPool};

/// How often a caller that waits is asked whether to go on.
const TICK: Duration = Duration::from_millis(50);

/// How items go through a network: prepared one by one on the threads of a pool, run in groups, and taken in
/// order on the caller's thread, all at the same time.
///
/// Under way are at most as many items as there are in the groups that run, in one more, and one for each
/// thread of the pool: that bounds the memory.
#[derive(Clone, Copy, Debug)]
pub struct Ahead<'a> {
    /// The pool; rayon's own if there is none.
    pub threads: Option<&'a ThreadPool>,
    /// Items of a group; the last one may have fewer.
    pub group: usize,
    /// Groups that run at the same time, each on a thread of its own.
    pub runs: usize,
}

/// Where the time went.
#[derive(Clone, Copy, Debug, Default)]
pub struct Stages {
    /// Nothing ran, because nothing was prepared.
    pub waiting: Duration,
    /// At least one group ran.
    pub running: Duration,
}

/// A group by its number: its items, which are being prepared.
type Group<T> = (usize, Vec<Receiver<T>>);

/// The number and the size of a group, and its result, or the panic that it ended in.
type Done<R> = (usize, usize, thread::Result<R>);

impl Ahead<'_> {
    /// Takes what `next` gives through `prepare` and `run` to `take`. `next` and `take` are called on this
    /// thread, and `idle` while there is nothing to do but wait. A result is taken as soon as it is there.
    ///
    /// # Errors
    /// The first of `next`, `take` and `idle`; what is prepared and run at that time is finished, and nothing
    /// more is.
    pub fn run<S: Send, T: Send, R: Send, E>(
        &self,
        mut next: impl FnMut() -> Result<Option<S>, E>,
        prepare: impl Fn(S) -> T + Sync,
        run: impl Fn(Vec<T>) -> R + Sync,
        mut take: impl FnMut(R) -> Result<(), E>,
        mut idle: impl FnMut() -> Result<(), E>,
    ) -> Result<Stages, E> {
        let (ended, clock) = (AtomicBool::new(false), Clock::new());
        let (to_run, groups) = channel::<Group<T>>();
        let (done, results) = channel::<Done<R>>();
        let groups = Mutex::new(groups);
        let mut feed = |to_run: Sender<Group<T>>, spawn: &dyn Fn(S) -> Receiver<T>| {
            let _ends = Ends(&ended);
            let (mut more, mut group) = (true, Vec::new());
            // Items under way, groups that were sent and taken, and results that came before their turn.
            let (mut items, mut sent, mut taken, mut early) = (0, 0, 0, BTreeMap::new());
            while more || taken < sent {
                let pulls = more && items < self.room();
                let arrived = if pulls {
                    results.try_recv().ok()
                } else {
                    results.recv_timeout(TICK).ok()
                };
                if let Some((number, size, result)) = arrived {
                    early.insert(number, (size, result));
                    while let Some((size, result)) = early.remove(&taken) {
                        (taken, items) = (taken + 1, items - size);
                        take(result.unwrap_or_else(|panic| resume_unwind(panic)))?;
                    }
                } else if !pulls {
                    idle()?;
                } else {
                    let source = next()?;
                    more = source.is_some();
                    items += usize::from(more);
                    group.extend(source.map(spawn));
                    if group.len() == self.group || !(more || group.is_empty()) {
                        // Those who receive it live longer than this.
                        let _ = to_run.send((sent, std::mem::take(&mut group)));
                        sent += 1;
                    }
                }
            }
            Ok(())
        };
        thread::scope(|scope| {
            for _ in 0..self.runs {
                let done = done.clone();
                scope.spawn(|| run_all(&groups, done, &run, &ended, &clock));
            }
            // Gone at the end of the feed, however it ends.
            let to_run = to_run;
            in_place(self.threads, |tasks| {
                feed(to_run, &|source| spawned(tasks, source, &prepare, &ended))
            })
        })?;
        Ok(clock.change(0))
    }

    /// The most items that are under way.
    fn room(&self) -> usize {
        let threads = self.threads.map(ThreadPool::current_num_threads);
        (self.runs + 1) * self.group + threads.unwrap_or_else(rayon::current_num_threads)
    }
}

fn in_place<'s, R>(threads: Option<&ThreadPool>, work: impl FnOnce(&Scope<'s>) -> R) -> R {
    match threads {
        Some(pool) => pool.in_place_scope(work),
        None => rayon::in_place_scope(work),
    }
}

/// Starts to prepare an item.
fn spawned<'s, S: Send + 's, T: Send + 's>(
    tasks: &Scope<'s>,
    source: S,
    prepare: &'s (impl Fn(S) -> T + Sync),
    ended: &'s AtomicBool,
) -> Receiver<T> {
    let (sender, receiver) = channel();
    tasks.spawn(move |_| {
        if !ended.load(Ordering::Relaxed) {
            // Nobody waits for it any more if something ended the job.
            let _ = sender.send(prepare(source));
        }
    });
    receiver
}

/// Runs groups until there are no more.
fn run_all<T, R>(
    groups: &Mutex<Receiver<Group<T>>>,
    done: Sender<Done<R>>,
    run: &impl Fn(Vec<T>) -> R,
    ended: &AtomicBool,
    clock: &Clock,
) {
    let next = || {
        let groups = groups.lock().unwrap_or_else(PoisonError::into_inner);
        groups.recv().ok()
    };
    while let Some((number, parts)) = next() {
        let size = parts.len();
        // The scope passes on what panicked in preparing the others.
        let parts = parts.iter().filter_map(|part| part.recv().ok()).collect();
        if ended.load(Ordering::Relaxed) {
            return;
        }
        clock.change(1);
        let result = catch_unwind(AssertUnwindSafe(|| run(parts)));
        clock.change(-1);
        if done.send((number, size, result)).is_err() {
            return;
        }
    }
}

/// Tells the others that there is nothing more to do.
struct Ends<'a>(&'a AtomicBool);

impl Drop for Ends<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// What has happened until the latest change.
struct Clock(Mutex<(Instant, isize, Stages)>);

impl Clock {
    fn new() -> Self {
        Self(Mutex::new((Instant::now(), 0, Stages::default())))
    }

    /// One group more runs, or one less.
    fn change(&self, by: isize) -> Stages {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (since, running, stages) = &mut *state;
        let now = Instant::now();
        let passed = now.duration_since(*since);
        if *running > 0 {
            stages.running += passed;
        } else {
            stages.waiting += passed;
        }
        (*since, *running) = (now, *running + by);
        *stages
    }
}
