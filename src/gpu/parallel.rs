//! Runs work on all processors while the caller's thread handles the results.

#[cfg(not(target_family = "wasm"))]
use std::{
    sync::atomic::{AtomicUsize, Ordering},
    sync::mpsc::sync_channel,
    thread,
};

use wgpu::{WasmNotSend, WasmNotSync};

use crate::error::Error;

/// Runs `work` on every item, on as many threads as there are processors, and passes each result
/// with its index to `done`, on the caller's thread and in the order of completion. Stops at the
/// first error.
///
/// At most as many results wait as there are threads. With one processor, or in a browser,
/// everything runs on the caller's thread.
pub(super) fn for_each<T: WasmNotSync, R: WasmNotSend>(
    items: &[T],
    work: impl Fn(&T) -> Result<R, Error> + WasmNotSync,
    mut done: impl FnMut(usize, R) -> Result<(), Error>,
) -> Result<(), Error> {
    #[cfg(not(target_family = "wasm"))]
    {
        let threads = thread::available_parallelism();
        let threads = threads.map_or(1, |n| n.get().min(items.len()));
        if threads > 1 {
            return on_threads(threads, items, work, done);
        }
    }
    let mut items = items.iter().enumerate();
    items.try_for_each(|(index, item)| done(index, work(item)?))
}

#[cfg(not(target_family = "wasm"))]
fn on_threads<T: Sync, R: Send>(
    threads: usize,
    items: &[T],
    work: impl Fn(&T) -> Result<R, Error> + Sync,
    mut done: impl FnMut(usize, R) -> Result<(), Error>,
) -> Result<(), Error> {
    let next = AtomicUsize::new(0);
    let (sender, receiver) = sync_channel(threads);
    thread::scope(|scope| {
        for _ in 0..threads {
            let sender = sender.clone();
            scope.spawn(|| {
                // Moved into the thread, so that the receiver ends when all threads are done.
                let sender = sender;
                while let Some((index, item)) = {
                    let index = next.fetch_add(1, Ordering::Relaxed);
                    items.get(index).map(|item| (index, item))
                } {
                    // After an error, the receiver is gone.
                    if sender.send((index, work(item))).is_err() {
                        break;
                    }
                }
            });
        }
        drop(sender);
        let results = receiver.iter();
        let mut results = results.map(|(index, result)| done(index, result?));
        let outcome = results.try_for_each(|result| result);
        // Lets threads that are blocked on sending finish.
        drop(results);
        drop(receiver);
        outcome
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failure() -> Error {
        Error::OutOfMemory {
            what: "test".to_owned(),
        }
    }

    #[test]
    fn every_item_is_done_once() {
        let items: Vec<usize> = (0..1000).collect();
        let mut squares = vec![0; items.len()];
        for_each(
            &items,
            |&x| Ok(x * x),
            |index, square| {
                assert_eq!(squares[index], 0, "{index} is done twice");
                squares[index] = square + 1;
                Ok(())
            },
        )
        .unwrap();
        assert!(squares.iter().enumerate().all(|(x, &s)| s == x * x + 1));
    }

    #[test]
    fn an_error_of_either_side_ends_it() {
        let items: Vec<usize> = (0..1000).collect();
        let work = |&x: &usize| if x == 7 { Err(failure()) } else { Ok(x) };
        assert!(for_each(&items, work, |_, _| Ok(())).is_err(), "work");
        let done = |index, _| if index == 7 { Err(failure()) } else { Ok(()) };
        assert!(for_each(&items, |&x| Ok(x), done).is_err(), "done");
        for_each(&[], work, |_, _| Ok(())).unwrap();
    }
}
