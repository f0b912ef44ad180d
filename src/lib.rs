//! ResNet forward pass on any GPU.

#[cfg(feature = "cpu")]
pub mod cpu;
pub mod error;
pub mod graph;
#[cfg(feature = "cpu")]
pub mod reference;
pub mod tensor;

pub use error::Error;
pub use wgpu;
