//! What the library warns about, as warnings of Python.

use std::ffi::CString;
use std::mem;
use std::sync::{Mutex, PoisonError};

use log::{Level, LevelFilter, Log, Metadata, Record};
use pyo3::exceptions::PyRuntimeWarning;
use pyo3::prelude::*;

/// Those that wait, of which more would say nothing new.
const MOST: usize = 100;

/// Warnings wait until a call returns to Python: a thread that computes must not wait for the interpreter.
struct Waiting(Mutex<Vec<String>>);

static WAITING: Waiting = Waiting(Mutex::new(Vec::new()));

impl Log for Waiting {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.level() == Level::Warn && metadata.target().starts_with("resnet")
    }

    fn log(&self, record: &Record<'_>) {
        let mut waiting = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if self.enabled(record.metadata()) && waiting.len() < MOST {
            waiting.push(record.args().to_string());
        }
    }

    fn flush(&self) {}
}

/// Listens from now on.
pub(crate) fn start() {
    if log::set_logger(&WAITING).is_ok() {
        log::set_max_level(LevelFilter::Warn);
    }
}

/// Passes on what waits.
pub(crate) fn pass_on(py: Python<'_>) -> PyResult<()> {
    let mut waiting = WAITING.0.lock().unwrap_or_else(PoisonError::into_inner);
    let texts = mem::take(&mut *waiting);
    drop(waiting);
    let category = py.get_type::<PyRuntimeWarning>();
    for text in texts {
        // Zero bytes would end the text.
        let text = CString::new(text.replace('\0', "")).unwrap_or_default();
        // The line that called the method of the Python half.
        PyErr::warn(py, &category, &text, 2)?;
    }
    Ok(())
}
