//! The native half of the Python package `resnet_wgpu`; the other half, in Python, is what users see.
//!
//! `images` turns what Python hands over into prepared batches, `engine` runs them without the
//! interpreter, `network` is the class between the two, and `errors` words what is refused.

mod engine;
mod errors;
mod images;
mod network;
mod warnings;

use pyo3::prelude::*;

/// The part of `resnet_wgpu` that is not Python.
#[pymodule]
mod _native {
    use pyo3::prelude::*;
    use resnet_run::{Caches, DeviceOptions, Request, Row};

    #[pymodule_export]
    use crate::errors::{
        AdapterError, AnswerError, DeviceError, ImageError, ResnetError, WeightsError,
    };
    #[pymodule_export]
    use crate::network::Network;

    #[pymodule_init]
    fn init(module: &Bound<'_, PyModule>) -> PyResult<()> {
        crate::warnings::start();
        module.add("__version__", env!("CARGO_PKG_VERSION"))
    }

    /// The adapters of this machine, as `resnet devices --format json` has them.
    #[pyfunction]
    fn adapters(py: Python<'_>) -> PyResult<String> {
        let rows = py.detach(|| {
            let options = DeviceOptions::default();
            let request = Request::new(&options)?;
            let adapters = request.adapters();
            let tried = request.try_adapters(&adapters, &options, true).ok();
            Ok(Row::all(
                &adapters,
                tried.as_ref(),
                Caches::new(None).as_ref(),
            ))
        });
        crate::network::json(&rows.map_err(crate::errors::refused)?)
    }
}
