//! The forward pass of ResNets on any GPU that [`wgpu`] supports, with handwritten WGSL kernels.
//!
//! Everything to the left of the executor is plain data that can be printed and tested without a
//! GPU:
//!
//! ```text
//! network ─► Model (Graph) ─► passes ─► Graph ─► plan ─► Plan ─► gpu::Executor ─► your encoder
//!               └──► reference (the oracle) and cpu (the fast fallback) run the same Graph
//! ```
//!
//! The crate `resnet-formats` opens weight files. The modules here, in the order in which a network
//! passes through them, are:
//!
//! 1. [`tensor`]: shapes, host tensors, and the one definition of the memory layout;
//! 2. [`graph`]: what to compute, one file per operation, with shapes checked when a node is added;
//! 3. [`network`]: a network as a blueprint, and models of any batch and image size built from it;
//! 4. [`passes`]: batch norm folded, ReLU and residual add moved into the convolution;
//! 5. `kernels`: one file per shader: what it binds, and how a layer becomes a launch;
//! 6. [`plan`]: which kernel runs each node and which activations share a buffer;
//! 7. [`gpu`]: the only module that uses wgpu: pipelines, buffers, commands, readback;
//! 8. `reference` and `cpu`: the same graph on the CPU, once to be trusted and once to be fast;
//! 9. [`engine`]: a graph that is ready to run on any of these;
//! 10. [`picture`]: pictures in, labels out; `compare` checks whether two results agree;
//! 11. [`explain`]: what a network looked at;
//! 12. [`tune`]: which kernels are fastest on an adapter; [`check`]: whether they are right there.
//!
//! # In a host that has a device
//!
//! A [`gpu::Classifier`] takes a network, the host's device and its textures, and gives labels, feature
//! vectors (embeddings) and a heat map: in a game engine such as Bevy, in an editor made with egui, in
//! anything that uses wgpu 30. What it consists of can be had one by one. The executor is built from the
//! host's device and records into the host's encoder. It never submits, polls or blocks.
//!
//! ```no_run
//! use resnet_wgpu::gpu::{Executor, Input, Output, Readback};
//! use resnet_wgpu::graph::{Graph, Role};
//! use resnet_wgpu::passes::{Fusion, optimize};
//! use resnet_wgpu::plan::{Capabilities, Plan, PlanOptions};
//! # use resnet_wgpu::wgpu;
//! # fn host(device: &wgpu::Device, queue: &wgpu::Queue, network: &Graph, image: &resnet_wgpu::tensor::Tensor)
//! # -> Result<(), resnet_wgpu::Error> {
//! let graph = optimize(network, Fusion::Full)?;
//! let options = PlanOptions::new(Capabilities::of(device));
//! let executor = Executor::new(device, queue, &Plan::new(&graph, &options)?)?;
//! let readback = Readback::of(device, &executor, [Role::Logits])?;
//!
//! // Every frame:
//! let mut encoder = device.create_command_encoder(&wgpu::CommandEncoderDescriptor::default());
//! executor.write_tensor(queue, image)?;
//! executor.record(&mut encoder, &Input::uploaded(), &Output::kept())?;
//! readback.record(&mut encoder)?;
//! queue.submit([encoder.finish()]);
//! while let Some((run, outputs)) = readback.try_read()? {
//!     println!("run {run}: {:?}", outputs[0].data());
//! }
//! # Ok(())
//! # }
//! ```
//!
//! The host's textures go in and come out without leaving the GPU, and a run can be spread over
//! frames: [`gpu::contract`] lists what a host can rely on. `examples/embed.rs` uses the classifier,
//! `examples/parts.rs` shows what it does. A value of the network, such as a stage, is a buffer that the
//! host's shaders can read: [`gpu::Executor::output`]. The nearest of many feature vectors:
//! [`gpu::Similarity`]. [`gpu::device_descriptor`] is the device to ask for where nothing else decides.
//!
//! # Without one
//!
//! [`gpu::Context`] finds an adapter and [`gpu::Session`] waits for results; the body of the latter
//! shows how the parts fit together. An [`engine::Engine`] is a graph that is ready to run on
//! whatever there is.
//!
//! # Features
//!
//! None is on by default: a host pays only for wgpu and for the back ends that it chooses.
//!
//! * `cpu`: the modules `cpu`, `reference` and `check`;
//! * `image`: decoding pictures;
//! * `vulkan`, `metal`, `dx12`, `gles`, `webgpu`: back ends of wgpu.

mod answer;
#[cfg(feature = "cpu")]
pub mod check;
mod clock;
mod compare;
#[cfg(feature = "cpu")]
mod cpu;
pub mod engine;
mod error;
pub mod explain;
pub mod gpu;
pub mod graph;
mod host_memory;
#[doc(hidden)]
pub mod internals;
mod kernels;
pub mod network;
pub mod passes;
pub mod picture;
pub mod plan;
#[cfg(feature = "cpu")]
mod reference;
mod shape;
pub mod tensor;
pub mod tune;
mod words;

pub use error::{Error, Hint, Kind};
pub use wgpu;

/// The examples of the README are tests.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
