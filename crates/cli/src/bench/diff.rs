//! `resnet bench diff`: whether a record of `resnet bench` is slower than an earlier one.

use std::path::Path;

use resnet_wgpu::internals::files::read_at_most;
use serde::{Deserialize, Serialize};

use crate::args::DiffArgs;
use crate::failure::Failure;
use crate::output::{SCHEMA_VERSION, Table, print, sizes};
use crate::stats::{median, quantile};

/// Maximum size of a record in bytes; thousands of samples take less than 1 MB.
const MAX_BYTES: u64 = 64 << 20;
/// The fraction of resampled ratios inside the interval.
const CONFIDENCE: f64 = 0.95;
/// Enough that the interval's bounds change by less than their second digit from seed to seed.
const RESAMPLES: usize = 4000;
/// With fewer samples, a bootstrap reflects the resampling more than the times.
const MIN_SAMPLES: usize = 5;

/// The parts of a record that are compared; anything else is ignored.
#[derive(Deserialize)]
struct Record {
    schema_version: u32,
    adapter: Adapter,
    model: Model,
    precision: Option<String>,
    kernel_set_hash: Option<String>,
    weights_hash: Option<String>,
    threads: Option<usize>,
    plan: Option<Plan>,
    runs: Vec<Run>,
}

#[derive(Deserialize)]
struct Plan {
    path: Option<String>,
    choices_hash: Option<String>,
}

#[derive(Deserialize)]
struct Adapter {
    name: String,
    backend: String,
    driver: Option<String>,
    driver_info: Option<String>,
}

#[derive(Deserialize)]
struct Model {
    name: String,
    fusion: Option<String>,
}

#[derive(Deserialize)]
struct Run {
    #[serde(flatten)]
    key: Key,
    samples_ms: Vec<f64>,
}

/// What identifies a run in both records.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
struct Key {
    path: String,
    batch: usize,
    size: [usize; 2],
}

impl Record {
    fn read(path: &Path) -> Result<Self, Failure> {
        let failure =
            |error: String| Failure::runtime(format!("cannot read '{}': {error}", path.display()));
        let json = read_at_most(path, MAX_BYTES).map_err(|error| failure(error.to_string()))?;
        let record: Self = serde_json::from_slice(&json)
            .map_err(|error| failure(format!("no record of `bench --format json`: {error}")))?;
        if record.schema_version != SCHEMA_VERSION {
            return Err(failure(format!(
                "its schema_version is {}, this program reads {SCHEMA_VERSION}",
                record.schema_version
            )));
        }
        for run in &record.runs {
            let is_time = |&ms: &f64| ms.is_finite() && ms > 0.0;
            if run.samples_ms.is_empty() || !run.samples_ms.iter().all(is_time) {
                return Err(failure(format!(
                    "samples_ms of the run on path {:?} must be positive numbers, at least one",
                    run.key.path
                )));
            }
        }
        Ok(record)
    }

    /// The samples of all runs with this key: `--batch 1,1` gives two such runs.
    fn samples(&self, key: &Key) -> Vec<f64> {
        let runs = self.runs.iter().filter(|run| run.key == *key);
        runs.flat_map(|run| run.samples_ms.iter().copied())
            .collect()
    }

    /// The distinct keys, in order.
    fn keys(&self) -> Vec<&Key> {
        let mut keys = Vec::new();
        for run in &self.runs {
            if !keys.contains(&&run.key) {
                keys.push(&run.key);
            }
        }
        keys
    }

    /// Everything else that must agree for times to be comparable, by name.
    fn circumstances(&self) -> [(&'static str, Option<String>); 12] {
        let text = |text: &str| Some(text.to_owned());
        let plan = self.plan.as_ref();
        [
            ("adapter", text(&self.adapter.name)),
            ("backend", text(&self.adapter.backend)),
            ("driver", self.adapter.driver.clone()),
            ("driver version", self.adapter.driver_info.clone()),
            ("model", text(&self.model.name)),
            ("weights hash", self.weights_hash.clone()),
            ("kernel set", self.kernel_set_hash.clone()),
            ("fusion", self.model.fusion.clone()),
            ("precision", self.precision.clone()),
            (
                "path of the kernels",
                plan.and_then(|plan| plan.path.clone()),
            ),
            (
                "choice of kernels",
                plan.and_then(|plan| plan.choices_hash.clone()),
            ),
            ("threads", self.threads.map(|threads| threads.to_string())),
        ]
    }
}

#[derive(Serialize)]
struct Report {
    schema_version: u32,
    before: String,
    after: String,
    threshold: f64,
    confidence: f64,
    resamples: usize,
    /// Differences other than the code that may explain a change in times; null if not recorded.
    differences: Vec<Circumstance>,
    runs: Vec<Comparison>,
    only_before: Vec<Key>,
    only_after: Vec<Key>,
}

#[derive(Serialize)]
struct Circumstance {
    what: &'static str,
    before: Option<String>,
    after: Option<String>,
}

#[derive(Serialize)]
struct Comparison {
    #[serde(flatten)]
    key: Key,
    before_samples: usize,
    after_samples: usize,
    before_ms: f64,
    after_ms: f64,
    /// The median after over the median before.
    ratio: f64,
    /// Null if there are too few samples.
    interval: Option<[f64; 2]>,
    verdict: Verdict,
}

#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
enum Verdict {
    /// The interval lies above the threshold.
    Regression,
    /// The interval lies above 1.
    Slower,
    /// The interval contains 1.
    Same,
    /// The interval lies below 1.
    Faster,
    /// There are too few samples for an interval.
    TooFewSamples,
}

impl Verdict {
    fn new(interval: Option<[f64; 2]>, threshold: f64) -> Self {
        match interval {
            None => Self::TooFewSamples,
            Some([low, _]) if low > threshold => Self::Regression,
            Some([low, _]) if low > 1.0 => Self::Slower,
            Some([_, high]) if high < 1.0 => Self::Faster,
            Some(_) => Self::Same,
        }
    }

    const fn text(self) -> &'static str {
        match self {
            Self::Regression => "regression",
            Self::Slower => "slower",
            Self::Same => "no difference seen",
            Self::Faster => "faster",
            Self::TooFewSamples => "too few samples",
        }
    }
}

pub(super) fn run(args: &DiffArgs) -> Result<(), Failure> {
    let before = Record::read(&args.before)?;
    let after = Record::read(&args.after)?;
    let report = Report::new(args, &before, &after);
    if report.runs.is_empty() {
        let list = |keys: &[Key]| match keys {
            [] => "no run".to_owned(),
            keys => keys.iter().map(Key::text).collect::<Vec<_>>().join("; "),
        };
        return Err(Failure::usage(format!(
            "no run of '{}' matches one of '{}' in path, batch and size: {} against {}",
            report.before,
            report.after,
            list(&report.only_before),
            list(&report.only_after)
        )));
    }
    report.warn();
    print(&report, args.format, |out| {
        out.table(&report.table(), args.format)
    })?;
    let slower = |run: &&Comparison| run.verdict == Verdict::Regression;
    let regressions: Vec<_> = report.runs.iter().filter(slower).collect();
    match regressions[..] {
        [] => Ok(()),
        [first, ..] => Err(Failure::slower(format!(
            "{} of {} runs slower than {} times, first {}",
            regressions.len(),
            report.runs.len(),
            args.threshold,
            first.key.text()
        ))),
    }
}

impl Key {
    fn text(&self) -> String {
        let Self { path, batch, size } = self;
        let path = path.escape_debug();
        format!("{path}, batch {batch}, {}", sizes(size))
    }
}

impl Report {
    fn new(args: &DiffArgs, before: &Record, after: &Record) -> Self {
        let pairs = before.circumstances().into_iter();
        let pairs = pairs.zip(after.circumstances());
        let differences = pairs
            .filter(|((_, before), (_, after))| before != after)
            .map(|((what, before), (_, after))| Circumstance {
                what,
                before,
                after,
            });
        let (before_keys, after_keys) = (before.keys(), after.keys());
        let only = |keys: &[&Key], others: &[&Key]| {
            let keys = keys.iter().filter(|key| !others.contains(key));
            keys.map(|&key| key.clone()).collect()
        };
        let common = before_keys.iter().filter(|key| after_keys.contains(key));
        let runs = common.map(|&key| {
            Comparison::new(
                key,
                &before.samples(key),
                &after.samples(key),
                args.threshold,
            )
        });
        Self {
            schema_version: SCHEMA_VERSION,
            before: args.before.display().to_string(),
            after: args.after.display().to_string(),
            threshold: args.threshold,
            confidence: CONFIDENCE,
            resamples: RESAMPLES,
            differences: differences.collect(),
            runs: runs.collect(),
            only_before: only(&before_keys, &after_keys),
            only_after: only(&after_keys, &before_keys),
        }
    }

    fn warn(&self) {
        let shown = |text: &Option<String>| match text {
            Some(text) => format!("{text:?}"),
            None => "not recorded".to_owned(),
        };
        for Circumstance {
            what,
            before,
            after,
        } in &self.differences
        {
            log::warn!("{what} differs: {} and {}", shown(before), shown(after));
        }
        for (keys, file) in [
            (&self.only_before, &self.before),
            (&self.only_after, &self.after),
        ] {
            for key in keys {
                log::info!("only in '{file}': {}", key.text());
            }
        }
    }

    fn table(&self) -> Table {
        let header = "path, verdict, batch, size, before ms, after ms, ratio, 95% interval";
        let mut table = Table::new(2, header);
        for run in &self.runs {
            let interval = run
                .interval
                .map(|[low, high]| format!("{low:.3} to {high:.3}"));
            table.row([
                run.key.path.escape_debug().to_string(),
                run.verdict.text().to_owned(),
                run.key.batch.to_string(),
                sizes(&run.key.size),
                format!("{:.3}", run.before_ms),
                format!("{:.3}", run.after_ms),
                format!("{:.3}", run.ratio),
                interval.unwrap_or_default(),
            ]);
        }
        table
    }
}

impl Comparison {
    fn new(key: &Key, before: &[f64], after: &[f64], threshold: f64) -> Self {
        let (before_ms, after_ms) = (median(before), median(after));
        let interval = bootstrap(before, after);
        Self {
            key: key.clone(),
            before_samples: before.len(),
            after_samples: after.len(),
            before_ms,
            after_ms,
            ratio: after_ms / before_ms,
            interval,
            verdict: Verdict::new(interval, threshold),
        }
    }
}

/// The confidence interval of the ratio of medians, by the percentile bootstrap (Efron &
/// Tibshirani, An Introduction to the Bootstrap, 1993, section 13.3).
fn bootstrap(before: &[f64], after: &[f64]) -> Option<[f64; 2]> {
    if before.len().min(after.len()) < MIN_SAMPLES {
        return None;
    }
    let mut random = Random(0);
    let mut draw = || resampled_median(after, &mut random) / resampled_median(before, &mut random);
    let ratios: Vec<f64> = (0..RESAMPLES).map(|_| draw()).collect();
    let tail = (1.0 - CONFIDENCE) / 2.0;
    Some([tail, 1.0 - tail].map(|q| quantile(&ratios, q)))
}

/// The median of a resample of the same size, drawn with replacement.
fn resampled_median(samples: &[f64], random: &mut Random) -> f64 {
    let draw = (0..samples.len()).map(|_| samples[random.below(samples.len())]);
    median(&draw.collect::<Vec<_>>())
}

/// `SplitMix64` (Steele, Lea & Flood 2014).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `len`.
    fn below(&mut self, len: usize) -> usize {
        let scaled = (u128::from(self.next()) * len as u128) >> 64;
        usize::try_from(scaled).unwrap_or(0)
    }
}

#[cfg(test)]
#[path = "../../tests/unit/diff.rs"]
mod tests;
