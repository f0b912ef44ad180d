//! What the program `resnet` and the Python package share: which network runs where, on which images.
//!
//! [`Network`] is a weight file with what the user states about it, [`Device`] an adapter or the CPU,
//! and [`Runner`] a graph of the one that is ready on the other. [`Ahead`] prepares images while
//! others run. Whatever is refused is a [`Refused`], plain data: each front end words it in terms of
//! its own flags or arguments.

mod adapters;
mod ahead;
mod caches;
mod cam;
mod device;
mod halves;
mod inspection;
mod labels;
#[cfg(test)]
mod lock_file;
mod network;
mod refused;
mod request;
mod runner;
mod trial;

pub use adapters::Row;
pub use ahead::{Ahead, Stages};
pub use caches::Caches;
pub use cam::{Cam, HeatMap, blended, see_through};
pub use device::{AdapterInfo, Backend, Device, DeviceOptions, Gpu};
pub use halves::LARGEST_HALF;
pub use inspection::{InspectedLayer, Inspection, ModelInfo};
pub use labels::{class_of, label};
pub use network::{Network, NetworkOptions, repository, resolve};
pub use refused::Refused;
pub use request::{Request, Tried};
pub use runner::{Fitted, Runner};

/// The version of wgpu; empty if no lock file says it.
pub const WGPU_VERSION: &str = env!("WGPU_VERSION");
