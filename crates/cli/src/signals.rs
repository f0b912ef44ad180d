//! Ends the program on Ctrl-C or `kill` without leaving half-written files or lines.

use resnet_wgpu::internals::files;
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use signal_hook::low_level::emulate_default_handler;

use crate::output;

/// Cleans up on a signal, then ends the process as that signal normally would.
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
