//! Progress bars on stderr while the weights are uploaded and the pipelines created.

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use resnet_wgpu::fetch;
use resnet_wgpu::gpu::Progress;

/// One bar at a time; it is gone when this is dropped. `indicatif` hides it where stderr is no
/// terminal.
#[derive(Debug)]
pub(crate) struct Bars {
    quiet: bool,
    bar: Option<(&'static str, ProgressBar)>,
}

impl Bars {
    pub(crate) const fn new(quiet: bool) -> Self {
        Self { quiet, bar: None }
    }

    /// Shows how far it is.
    pub(crate) fn show(&mut self, progress: Progress) {
        match progress {
            Progress::Weights { done, total } => self.set(
                "uploading weights",
                "{msg} {wide_bar} {bytes}/{total_bytes}",
                [done, total],
            ),
            Progress::Pipelines { done, total } => self.set(
                "creating pipelines",
                "{msg} {wide_bar} {pos}/{len}",
                [done as u64, total as u64],
            ),
        }
    }

    /// Shows how far a download is.
    pub(crate) fn download(&mut self, progress: &fetch::Progress) {
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

    fn set(&mut self, what: &'static str, template: &str, [done, total]: [u64; 2]) {
        if self.quiet {
            return;
        }
        if self.bar.as_ref().is_none_or(|(shown, _)| *shown != what) {
            self.clear();
            let bar = ProgressBar::with_draw_target(Some(total), ProgressDrawTarget::stderr());
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
