//! ResNet forward pass on any GPU.

pub mod compare;
#[cfg(feature = "cpu")]
pub mod cpu;
pub mod error;
pub mod gpu;
pub mod graph;
pub mod kernels;
pub mod passes;
pub mod plan;
#[cfg(feature = "cpu")]
pub mod reference;
pub mod tensor;

pub use error::Error;
pub use wgpu;
