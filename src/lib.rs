//! ResNet forward pass on any GPU.

pub mod compare;
#[cfg(feature = "cpu")]
pub mod cpu;
pub mod error;
pub mod gpu;
pub mod graph;
#[cfg(feature = "image")]
pub mod image;
pub mod kernels;
pub mod labels;
pub mod models;
pub mod passes;
pub mod plan;
pub mod preprocess;
#[cfg(feature = "cpu")]
pub mod reference;
pub mod tensor;
pub mod weights;

pub use error::Error;
pub use wgpu;
