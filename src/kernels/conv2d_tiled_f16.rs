//! A variant of [`super::conv2d_tiled`] for devices that multiply half precision twice as fast as
//! single precision; its data must be stored in half precision.

use super::Kernel;
use super::conv2d::BINDINGS;

/// `shaders/conv2d_tiled_f16.wgsl`.
pub static KERNEL: Kernel = Kernel {
    name: "conv2d_tiled_f16",
    source: include_str!("../../shaders/conv2d_tiled_f16.wgsl"),
    threads: 128,
    bindings: BINDINGS,
};
