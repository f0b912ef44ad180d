//! The end of the program by Ctrl-C or `kill`: no half-written file and no half-written line is left.

use resnet_wgpu::internals::files;
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use signal_hook::low_level::emulate_default_handler;

use crate::output;

/// Cleans up when a signal comes, and then ends as if nobody had waited for it.
pub(crate) fn clean_up() {
    let signals = Signals::new([SIGINT, SIGTERM]);
    let Ok(mut signals) = signals.inspect_err(|error| log::debug!("no signals: {error}")) else {
        return;
    };
    std::thread::spawn(move || {
        if let Some(signal) = signals.forever().next() {
            files::remove_unfinished();
            let _line = output::await_end_of_line();
            let _ = emulate_default_handler(signal);
        }
    });
}
