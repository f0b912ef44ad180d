//! ResNet forward pass on any GPU.

pub mod error;
pub mod graph;
#[cfg(feature = "image")]
pub mod image;
pub mod labels;
pub mod models;
pub mod preprocess;
pub mod tensor;
pub mod weights;

pub use error::Error;
pub use wgpu;
