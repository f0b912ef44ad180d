//! Reads weight files of ResNets as networks for [`resnet_wgpu`].
//!
//! [`open`] takes a file of any supported format, which it recognises by content: safetensors,
//! single or sharded, PyTorch checkpoints, ONNX, and Keras's three formats. [`save`] writes a
//! network as one file that describes itself. [`weights`] reads a file as named tensors, every one
//! of which must be used; [`onnx`] and [`keras`] read files that contain their own graph; `hub`
//! downloads from the Hugging Face Hub.
//!
//! # Features
//!
//! * `torch`, `onnx`, `keras` (on by default): the formats other than safetensors;
//! * `hub`: downloads.

mod folder;
#[cfg(feature = "hub")]
pub mod hub;
#[cfg(feature = "keras")]
pub mod keras;
#[cfg(feature = "onnx")]
pub mod onnx;
mod sidecar;
pub mod weights;

use std::path::Path;

use resnet_wgpu::Error;
use resnet_wgpu::network::{ModelOptions, Network};

pub use sidecar::preprocess;
use weights::Weights;
use weights::bytes::Bytes;
pub use weights::described::{WeightsAs, save};

/// Opens a weight file of any supported format, or a folder that contains one.
///
/// # Errors
/// As [`Weights::open`] and [`Weights::network`], or as `onnx::from_bytes` and `keras::from_bytes`.
pub fn open(path: impl AsRef<Path>, options: &ModelOptions) -> Result<Network, Error> {
    let path = &folder::resolve(path.as_ref())?;
    let source = Bytes::open(path)?;
    let head = source.head().map_err(|fault| fault.in_file(path))?;
    weights::refuse_foreign(path, &head)?;
    #[cfg(feature = "onnx")]
    if weights::is_onnx(&head) {
        return onnx::open(path, &source, options);
    }
    #[cfg(feature = "keras")]
    if keras::is_keras(&source) {
        return keras::open(path, source, options);
    }
    Weights::of_file(path, source, options)?.network(options)
}

/// Does what [`open`] does for a file in memory; `name` stands for its path in errors.
///
/// # Errors
/// As [`open`].
pub fn from_bytes(
    name: &str,
    bytes: impl Into<Vec<u8>>,
    options: &ModelOptions,
) -> Result<Network, Error> {
    let bytes = bytes.into();
    #[cfg(feature = "onnx")]
    if weights::is_onnx(&bytes) {
        return onnx::from_bytes(name, &bytes, options);
    }
    let source = Bytes::from(bytes);
    #[cfg(feature = "keras")]
    if keras::is_keras(&source) {
        return keras::of_memory(name, source, options);
    }
    Weights::in_memory(name, source, options)?.network(options)
}

/// Refuses a requested entry if the file holds one network.
pub(crate) fn refuse_entry(options: &ModelOptions, file: &str) -> Result<(), Error> {
    options.entry.as_ref().map_or(Ok(()), |entry| {
        Err(Error::Model {
            model: format!("entry '{entry}'"),
            reason: format!("{file} holds one network; leave the entry out"),
        })
    })
}

/// Refuses a requested architecture if the file lists its own layers.
#[cfg(any(feature = "onnx", feature = "keras"))]
fn refuse_arch(options: &ModelOptions, file: &str) -> Result<(), Error> {
    options.arch.map_or(Ok(()), |arch| {
        Err(Error::Model {
            model: arch.name().to_owned(),
            reason: format!("{file} says itself what network it is; leave the architecture out"),
        })
    })
}
