//! ResNet forward pass on any GPU that [`wgpu`] reaches, with handwritten WGSL kernels.
//!
//! Everything left of the executor is plain data that prints and is tested without a GPU:
//!
//! ```text
//! weights ─► models ─► Graph ─► passes ─► Graph ─► plan ─► Plan ─► gpu::Executor ─► your encoder
//!                        └──► reference (the oracle) and cpu (the fast fallback) run the same Graph
//! ```
//!
//! The modules, in the order in which a network passes through them:
//!
//! 1. [`tensor`]: shapes, host tensors, and the one definition of the memory layout;
//! 2. [`weights`]: a weight file as named tensors, every one of which must be used;
//! 3. [`models`]: ResNet-18 to 152 and the classic lesson's network as graphs; [`onnx`] and
//!    [`keras`] read files that bring their own;
//! 4. [`graph`]: what to compute, with shapes checked when a node is added;
//! 5. [`passes`]: batch norm folded, ReLU and residual add moved into the convolution;
//! 6. [`kernels`]: one file per shader: what it binds and how a layer becomes a launch;
//! 7. [`plan`]: which kernel runs each node and which activations share a buffer;
//! 8. [`gpu`]: the only module that uses wgpu: pipelines, buffers, commands, readback;
//! 9. [`mod@reference`] and [`cpu`]: the same graph on the CPU, once to be believed, once to be fast;
//! 10. [`preprocess`], [`image`] and [`labels`]: pictures in, words out; [`compare`] says whether
//!     two results agree.
//!
//! # In a host that has a device
//!
//! The executor is built from the host's device and records into the host's encoder. It never
//! submits, polls or blocks.
//!
//! ```no_run
//! use resnet_wgpu::gpu::{Executor, Input, Output, plan_limits};
//! use resnet_wgpu::models;
//! use resnet_wgpu::network::ModelOptions;
//! use resnet_wgpu::passes::{Fusion, optimize};
//! use resnet_wgpu::plan::{Plan, PlanOptions};
//! # use resnet_wgpu::wgpu;
//! # fn host(device: &wgpu::Device, queue: &wgpu::Queue, image: &resnet_wgpu::tensor::Tensor)
//! # -> Result<(), resnet_wgpu::Error> {
//! let model = models::open("resnet50.safetensors", &ModelOptions::default())?.model(&ModelOptions::default())?;
//! let graph = optimize(&model.graph, Fusion::Full)?;
//! let options = PlanOptions { limits: plan_limits(device), ..PlanOptions::default() };
//! let executor = Executor::new(device, queue, &Plan::new(&graph, &options)?)?;
//!
//! // Every frame:
//! let mut encoder = device.create_command_encoder(&wgpu::CommandEncoderDescriptor::default());
//! executor.write_tensor(queue, image)?;
//! executor.record(&mut encoder, &Input::uploaded(), &Output::kept())?;
//! let (logits, buffer) = executor.output("fc")?;
//! println!("{} logits in {buffer:?}", logits.shape.c);
//! queue.submit([encoder.finish()]);
//! # Ok(())
//! # }
//! ```
//!
//! Textures of the host go in and come out without leaving the GPU, and a run can be spread over
//! frames: [`gpu::contract`] lists what a host can rely on, `examples/embed.rs` is all of it on one
//! page.
//!
//! # Without one
//!
//! [`gpu::Context`] finds an adapter and [`gpu::Session`] waits for results; the body of the latter
//! shows how the parts go together.
//!
//! # Features
//!
//! * `cli` (default): the `resnet` program, and everything below;
//! * `cpu`: the modules [`cpu`] and [`mod@reference`];
//! * `image`: decoding and resizing of pictures;
//! * `torch`: checkpoints of PyTorch;
//! * `onnx`: the module [`onnx`];
//! * `keras`: the module [`keras`];
//! * `fetch`: the module `fetch`, which downloads from the Hugging Face Hub.

pub mod compare;
#[cfg(feature = "cpu")]
pub mod cpu;
pub mod error;
#[cfg(feature = "fetch")]
pub mod fetch;
pub mod files;
pub mod gpu;
pub mod graph;
#[cfg(feature = "image")]
pub mod image;
#[cfg(feature = "keras")]
pub mod keras;
pub mod kernels;
pub mod labels;
pub mod models;
pub mod network;
#[cfg(feature = "onnx")]
pub mod onnx;
pub mod passes;
pub mod plan;
pub mod preprocess;
#[cfg(feature = "cpu")]
pub mod reference;
mod resample;
pub mod sites;
pub mod tensor;
pub mod tune;
pub mod weights;

pub use error::Error;
pub use wgpu;
