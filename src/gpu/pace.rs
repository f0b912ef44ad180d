//! How much of a run goes into one submission.
//!
//! Systems reset a GPU that does not answer for seconds. What a kernel will take is estimated from its
//! arithmetic and its traffic, and corrected by what earlier submissions took.

use std::ops::Range;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::Slice;
use crate::clock::Instant;
use crate::plan::{DeviceClass, Plan};

/// No submission should take longer. Windows resets a GPU after two seconds.
const BUDGET_MS: f64 = 500.0;

/// Nothing has been measured when a long run begins: its first submission is estimated at this part of the
/// budget.
const FIRST: f64 = 0.125;

/// Multiply-accumulate operations and bytes in a millisecond: a slow device of each class, with kernels that
/// do not suit it.
const fn speed(class: DeviceClass) -> [f64; 2] {
    match class {
        DeviceClass::Discrete => [2e8, 5e7],
        DeviceClass::Integrated | DeviceClass::Unknown => [2e7, 1e7],
        DeviceClass::Software => [1e7, 2e6],
    }
}

/// The milliseconds that each dispatch of a plan may take on a slow device of a class.
pub(super) fn estimates(plan: &Plan, class: DeviceClass) -> impl Iterator<Item = f64> {
    let [macs, bytes] = speed(class);
    let steps = plan.steps().iter();
    steps.map(move |step| (step.macs as f64 / macs).max(step.bytes as f64 / bytes))
}

/// The estimates of a plan's dispatches.
#[derive(Debug)]
pub(super) struct Pace {
    /// Milliseconds of each.
    estimates: Vec<f64>,
    state: Mutex<State>,
}

#[derive(Clone, Copy, Debug)]
struct State {
    budget: f64,
    /// Milliseconds that a millisecond of the estimate takes; unknown before anything was measured.
    factor: Option<f64>,
    /// The submissions of the latest run.
    submissions: usize,
    /// The end of the submission that was waited for last: one behind it had not begun before.
    ended: Option<Instant>,
}

impl Pace {
    pub(super) fn new(plan: &Plan, class: DeviceClass) -> Self {
        Self {
            estimates: estimates(plan, class).collect(),
            state: Mutex::new(State {
                budget: BUDGET_MS,
                factor: None,
                submissions: 0,
                ended: None,
            }),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Plain numbers: a panic cannot leave them half-changed.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Begins a run, and says whether it fits into one submission.
    pub(super) fn fits(&self) -> bool {
        let mut state = self.state();
        state.submissions = 0;
        self.estimates.iter().sum::<f64>() * state.factor.unwrap_or(1.0) <= state.budget
    }

    /// The next part of a run that does not.
    pub(super) fn slice(&self) -> Slice<'_> {
        let state = self.state();
        Slice::Time {
            milliseconds: state
                .factor
                .map_or(state.budget * FIRST, |factor| state.budget / factor),
            times: &self.estimates,
        }
    }

    /// Learns what a submission took that ends now.
    pub(super) fn learn(&self, steps: Range<usize>, start: Instant) {
        let now = Instant::now();
        let before = self.state().ended.replace(now);
        let start = before.map_or(start, |before| start.max(before));
        self.took(steps, now.duration_since(start));
    }

    /// The first run as a whole may have waited for a compiler.
    fn took(&self, steps: Range<usize>, took: Duration) {
        let whole = steps.len() == self.estimates.len();
        let estimated: f64 = self.estimates[steps].iter().sum();
        let mut state = self.state();
        state.submissions += 1;
        let factor = took.as_secs_f64() * 1e3 / estimated.max(f64::MIN_POSITIVE);
        if whole && state.factor.is_none() {
            state.factor = Some(1.0);
        } else if factor.is_finite() {
            state.factor = Some(factor);
        }
    }

    /// The submissions of the latest run.
    pub(super) fn submissions(&self) -> usize {
        self.state().submissions
    }

    /// Sets the time that a submission may take, in milliseconds.
    pub(super) fn set_budget(&self, milliseconds: f64) {
        self.state().budget = milliseconds;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pace(estimates: &[f64]) -> Pace {
        Pace {
            estimates: estimates.to_vec(),
            state: Mutex::new(State {
                budget: 500.0,
                factor: None,
                submissions: 0,
                ended: None,
            }),
        }
    }

    fn milliseconds(slice: Slice<'_>) -> f64 {
        match slice {
            Slice::Time { milliseconds, .. } => milliseconds,
            Slice::Steps(_) | Slice::Part(_) | Slice::Rest => panic!("a slice of time"),
        }
    }

    #[test]
    fn what_submissions_take_corrects_the_estimate_both_ways() {
        let pace = pace(&[100.0, 100.0, 400.0]);
        assert!(!pace.fits(), "600 ms by estimate");
        assert_eq!(milliseconds(pace.slice()), 62.5, "careful at first");
        // Ten times as slow as estimated, so that a tenth of the estimate fits.
        pace.took(0..1, Duration::from_secs(1));
        assert_eq!(milliseconds(pace.slice()), 50.0);
        // Ten times as fast.
        pace.took(1..3, Duration::from_millis(50));
        assert_eq!(milliseconds(pace.slice()), 5000.0);
        assert_eq!(pace.submissions(), 2);
        assert!(pace.fits(), "60 ms as measured");
    }

    #[test]
    fn the_first_run_may_have_compiled_and_teaches_nothing() {
        let pace = pace(&[100.0, 100.0]);
        assert!(pace.fits());
        pace.took(0..2, Duration::from_secs(7));
        assert!(pace.fits(), "still by estimate");
        pace.took(0..2, Duration::from_secs(1));
        assert!(!pace.fits(), "a second, now for certain");
    }
}
