//! Progress bars on stderr: uploads, pipelines, downloads and batches of images.

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use resnet_formats::hub;
use resnet_wgpu::gpu::BuildProgress;

/// One bar at a time; it is gone when this is dropped. `indicatif` hides it where stderr is no
/// terminal.
#[derive(Debug)]
pub(crate) struct Bars {
    /// Where bars are drawn, or `None` for none.
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

    /// Shows how far it is.
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

    /// Shows how far a download is.
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

    /// Shows how many images are done.
    pub(crate) fn images(&mut self, done: usize, total: usize) {
        self.set(
            "images",
            "{msg} {wide_bar} {pos}/{len}, {eta} left",
            [done as u64, total as u64],
        );
    }

    /// Prints something, on stdout too, for which the bar steps aside.
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
            // Styles and messages draw it already.
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
mod tests {
    use std::cell::RefCell;

    use indicatif::InMemoryTerm;

    use super::*;

    thread_local! {
        static SCREEN: RefCell<InMemoryTerm> = RefCell::new(InMemoryTerm::new(4, 60));
    }

    fn screen() -> InMemoryTerm {
        SCREEN.with_borrow(Clone::clone)
    }

    #[test]
    fn the_images_that_are_done_are_shown_between_what_is_printed() {
        let mut bars = Bars {
            target: Some(|| ProgressDrawTarget::term_like(Box::new(screen()))),
            bar: None,
        };
        assert_eq!(bars.while_hidden(|| 1), 1, "nothing to hide");
        bars.images(2, 5);
        // Bars are drawn a few times a second, and always when they come back.
        let shown = bars.while_hidden(|| screen().contents());
        assert_eq!(shown, "", "hidden meanwhile");
        assert!(screen().contents().starts_with("images "), "a bar");
        assert!(screen().contents().contains(" 2/5, "), "{:?}", screen());
        drop(bars);
        assert_eq!(screen().contents(), "", "gone at the end");
    }

    #[test]
    fn a_quiet_program_shows_none() {
        let mut bars = Bars::new(true);
        bars.images(2, 5);
        assert!(bars.bar.is_none(), "{bars:?}");
    }
}
