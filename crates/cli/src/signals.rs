//! Ends the program on Ctrl-C, `kill` or a closed terminal without leaving half-written files or lines.

use std::sync::{Arc, MutexGuard, TryLockError};
use std::thread;
use std::time::Duration;

use resnet_wgpu::internals::files;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGXFSZ};
use signal_hook::flag;
use signal_hook::iterator::Signals;
use signal_hook::low_level::emulate_default_handler;

use crate::output::WRITING;

/// Cleans up on a signal, then ends the process as that signal normally would.
///
/// A file that would become larger than the user's limit is an error of writing, which says so, once
/// something listens to its signal.
pub(crate) fn clean_up() {
    if let Err(error) = flag::register(SIGXFSZ, Arc::default()) {
        log::debug!("no signal for limits of files: {error}");
    }
    let hang_up = hang_up_ends().then_some(SIGHUP);
    let signals = Signals::new([SIGINT, SIGTERM].into_iter().chain(hang_up));
    let Ok(mut signals) = signals.inspect_err(|error| log::debug!("no signals: {error}")) else {
        return;
    };
    thread::spawn(move || {
        if let Some(signal) = signals.forever().next() {
            files::remove_unfinished();
            let _line = await_end_of_line();
            let _ = emulate_default_handler(signal);
        }
    });
}

/// Waits until no line is half written, but gives up if the reader has stalled.
fn await_end_of_line() -> Option<MutexGuard<'static, ()>> {
    for _ in 0..100 {
        match WRITING.try_lock() {
            Ok(guard) => return Some(guard),
            Err(TryLockError::Poisoned(_)) => return None,
            Err(TryLockError::WouldBlock) => thread::sleep(Duration::from_millis(10)),
        }
    }
    None
}

/// Whether the program ends with its terminal: not where `nohup` has it go on, and by its own rule where
/// nothing says so.
fn hang_up_ends() -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let ignored = ignored.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    ignored.is_some_and(|mask| mask & (1 << (SIGHUP - 1)) == 0)
}
