//! A variant of [`conv2d_texture`](super::conv2d_texture) for subgroups of four lanes and drivers
//! that do not unroll loops: one tile, written out. It shares the geometry, weights and launch of
//! `conv2d_texture`.

use super::conv2d_texture::Tile;
use crate::kernels::{Kernel, sample, update};

/// `shaders/textures/conv2d_quad.wgsl`.
pub static KERNEL: Kernel = Kernel {
    name: "conv2d_quad",
    source: include_str!("../../../shaders/textures/conv2d_quad.wgsl"),
    threads: 4,
    bindings: &[
        sample("input"),
        sample("weight"),
        sample("residual"),
        update("output"),
    ],
};

/// Lanes of a quad, and threads per workgroup.
pub const LANES: u32 = 4;

/// The tile that the shader spells out.
pub const TILE: Tile = Tile {
    co: 16,
    px_groups: 4,
    lanes: LANES,
    fused: false,
};
