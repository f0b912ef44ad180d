//! Weight files of ResNets, as networks for [`resnet_wgpu`].
//!
//! [`models::open`] takes a file of any format, recognised by its content: safetensors, also in
//! shards, PyTorch's checkpoints, ONNX, or Keras' three formats. [`weights`] reads a file as named
//! tensors, every one of which must be used; [`onnx`] and [`keras`] read files that bring their own
//! graph; `hub` downloads from the Hugging Face Hub.
//!
//! # Features
//!
//! * `torch`, `onnx`, `keras` (default): the formats beside safetensors;
//! * `hub`: downloading.

#[cfg(feature = "hub")]
pub mod hub;
#[cfg(feature = "keras")]
pub mod keras;
pub mod models;
#[cfg(feature = "onnx")]
pub mod onnx;
pub mod weights;
