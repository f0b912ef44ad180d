//! Work that is prepared while earlier work runs.

use std::sync::mpsc::{RecvTimeoutError, channel};
use std::thread;
use std::time::Duration;

/// How often a caller that waits is asked whether to go on.
const TICK: Duration = Duration::from_millis(50);

/// Runs what `make` prepares on a thread of its own, in order, while `make` prepares more on the
/// caller's: one piece runs, one waits, one is being made. `take` gets the results, on the caller's
/// thread as well; `idle` is called while there is nothing to do but wait.
///
/// # Errors
/// The first of `make`, `take` and `idle`; what runs then is finished first, and nothing more is.
pub fn ahead<T: Send, R: Send, E>(
    mut make: impl FnMut() -> Result<Option<T>, E>,
    mut run: impl FnMut(T) -> R + Send,
    mut take: impl FnMut(R) -> Result<(), E>,
    mut idle: impl FnMut() -> Result<(), E>,
) -> Result<(), E> {
    thread::scope(|scope| {
        let (to, pieces) = channel();
        let (done, results) = channel();
        scope.spawn(move || {
            for piece in pieces {
                if done.send(run(piece)).is_err() {
                    return;
                }
            }
        });
        // Pieces that were sent and whose results were not taken yet.
        let mut under_way = 0;
        let mut until = |most: usize, under_way: &mut usize| {
            while *under_way > most {
                match results.recv_timeout(TICK) {
                    Ok(result) => {
                        *under_way -= 1;
                        take(result)?;
                    }
                    Err(RecvTimeoutError::Timeout) => idle()?,
                    // The thread panicked, which the scope passes on.
                    Err(RecvTimeoutError::Disconnected) => return Ok(()),
                }
            }
            Ok(())
        };
        while let Some(piece) = make()? {
            until(1, &mut under_way)?;
            under_way += 1;
            if to.send(piece).is_err() {
                break;
            }
        }
        until(0, &mut under_way)
    })
}
