//! Progress bars on stderr: uploads, pipelines, downloads, tuning and batches of images.

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use resnet_formats::hub;
use resnet_wgpu::internals::gpu::BuildProgress;
use resnet_wgpu::tune::TuneProgress;

/// Shows one bar at a time, and removes it when dropped. `indicatif` hides it if stderr is not a
/// terminal.
#[derive(Debug)]
pub(crate) struct Bars {
    /// Where bars are drawn; `None` draws nothing.
    target: Option<fn() -> ProgressDrawTarget>,
    bar: Option<(&'static str, ProgressBar)>,
}

impl Bars {
    pub(crate) const fn new(quiet: bool) -> Self {
        let target: Option<fn() -> ProgressDrawTarget> = if quiet {
            None
        } else {
            Some(ProgressDrawTarget::stderr)
        };
        Self { target, bar: None }
    }

    /// Shows the progress of preparing a network.
    pub(crate) fn show(&mut self, progress: BuildProgress) {
        match progress {
            BuildProgress::Weights { done, total } => self.set(
                "uploading weights",
                "{msg} {wide_bar} {bytes}/{total_bytes}",
                [done, total],
            ),
            BuildProgress::Pipelines { done, total } => self.set(
                "creating pipelines",
                "{msg} {wide_bar} {pos}/{len}",
                [done as u64, total as u64],
            ),
            _ => {}
        }
    }

    /// Shows the progress of a download.
    pub(crate) fn download(&mut self, progress: &hub::Progress) {
        self.set(
            "downloading",
            "{msg} {wide_bar} {bytes}/{total_bytes} {bytes_per_sec}",
            [progress.done, progress.total],
        );
        if let Some((_, bar)) = &self.bar {
            bar.set_length(progress.total);
            bar.set_message(progress.file.clone());
        }
    }

    /// Shows the layer that is being tuned.
    pub(crate) fn tune(&mut self, progress: TuneProgress<'_>) {
        let message = match progress {
            TuneProgress::Layer {
                done,
                total,
                shape,
                candidates,
            } => {
                let place = [done as u64, total as u64];
                self.set("tuning", "tuning {pos}/{len} {wide_bar} {msg}", place);
                format!("{shape}, {candidates} candidates")
            }
            TuneProgress::Networks => "the whole network".to_owned(),
            _ => return,
        };
        if let Some((_, bar)) = &self.bar {
            bar.set_message(message);
        }
    }

    /// Shows how many images are done.
    pub(crate) fn images(&mut self, done: usize, total: usize) {
        self.set(
            "images",
            "{msg} {wide_bar} {pos}/{len}, {eta} left",
            [done as u64, total as u64],
        );
    }

    /// Hides the bar while `print` runs, as its output may go to the same terminal.
    pub(crate) fn while_hidden<T>(&self, print: impl FnOnce() -> T) -> T {
        match &self.bar {
            Some((_, bar)) => bar.suspend(print),
            None => print(),
        }
    }

    fn set(&mut self, what: &'static str, template: &str, [done, total]: [u64; 2]) {
        let Some(target) = self.target else {
            return;
        };
        if self.bar.as_ref().is_none_or(|(shown, _)| *shown != what) {
            self.clear();
            // Setting a style or message already draws the bar.
            let bar = ProgressBar::with_draw_target(Some(total), target()).with_position(done);
            let style = ProgressStyle::with_template(template);
            bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
            bar.set_message(what);
            self.bar = Some((what, bar));
        }
        if let Some((_, bar)) = &self.bar {
            bar.set_position(done);
        }
    }

    fn clear(&mut self) {
        if let Some((_, bar)) = self.bar.take() {
            bar.finish_and_clear();
        }
    }
}

impl Drop for Bars {
    fn drop(&mut self) {
        self.clear();
    }
}

#[cfg(test)]
#[path = "../tests/unit/progress.rs"]
mod tests;
