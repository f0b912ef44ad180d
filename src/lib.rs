//! ResNet forward pass on any GPU.

pub mod error;
pub mod graph;
pub mod tensor;

pub use error::Error;
pub use wgpu;
