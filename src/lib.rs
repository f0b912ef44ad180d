//! ResNet forward pass on any GPU.

pub mod error;
pub mod gpu;
pub mod graph;
pub mod kernels;
pub mod passes;
pub mod plan;
pub mod tensor;

pub use error::Error;
pub use wgpu;
