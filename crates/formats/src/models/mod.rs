//! Weight files as networks, whatever their format.

mod config;
mod listed;
mod stored;

use std::path::Path;

pub(crate) use listed::network as listed;
pub(crate) use stored::read as described;
pub use stored::save;

use crate::weights::{self, Weights};
pub(crate) use config::read as config;
use resnet_wgpu::Error;
use resnet_wgpu::network::{ModelOptions, Network};

/// Opens a weight file of any supported format, recognised by its content.
///
/// # Errors
/// As [`Weights::open`] and [`Weights::network`], or as `onnx::from_bytes` and `keras::from_bytes`.
pub fn open(path: impl AsRef<Path>, options: &ModelOptions) -> Result<Network, Error> {
    let path = path.as_ref();
    let map = weights::map(path)?;
    #[cfg(feature = "onnx")]
    if weights::is_onnx(&map) {
        refuse_arch(options, "an ONNX file")?;
        return crate::onnx::open(path, &map, options);
    }
    #[cfg(feature = "keras")]
    if crate::keras::is_keras(&map) {
        refuse_arch(options, "a Keras file")?;
        return crate::keras::open(path, &map, options);
    }
    Weights::of_map(path, map)?.network(options)
}

/// Refuses an architecture for a file that brings its own layers.
#[cfg(any(feature = "onnx", feature = "keras"))]
fn refuse_arch(options: &ModelOptions, file: &str) -> Result<(), Error> {
    options.arch.map_or(Ok(()), |arch| {
        Err(Error::Model {
            model: arch.name().to_owned(),
            reason: format!("{file} says itself what network it is; leave the architecture out"),
        })
    })
}
