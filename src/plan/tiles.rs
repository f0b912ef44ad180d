//! Tile geometry of the convolution kernels on buffers: one table.
//!
//! A large tile does more arithmetic per byte that it loads; a small one makes more workgroups. At
//! batch 1 the last stages of a ResNet have 49 output pixels, and a GPU whose compute units have no
//! workgroup idles, so the largest tile that still makes enough workgroups wins.

use crate::kernels::conv2d::{Geometry, Tile};

/// From the largest to the smallest. Each row stands for what `cargo run --example isa` prints for
/// RDNA2: no tile spills, and at least 80 % of its hottest block are multiply-adds.
const TILES: [Tile; 3] = [
    // 90 % multiply-adds, 8 waves per SIMD; 12 KiB of workgroup memory.
    tile(128, 64, 16, 8, 8),
    // 90 %, 8 waves.
    tile(64, 64, 16, 8, 8),
    // 83 %, 12 waves.
    tile(32, 64, 16, 4, 8),
];

/// Workgroups that a dispatch should have. wgpu does not tell how many compute units a device has;
/// this is two for each of the 40 of a middle-class discrete GPU, and more than an integrated one
/// needs.
const WORKGROUPS_WANTED: usize = 80;

const fn tile(px: u32, co: u32, k: u32, per_thread_px: u32, per_thread_co: u32) -> Tile {
    Tile {
        px,
        co,
        k,
        per_thread_px,
        per_thread_co,
    }
}

/// The largest tile that makes enough workgroups, else the smallest.
pub(super) fn tile_for(geometry: &Geometry) -> Tile {
    let workgroups = |tile: &Tile| {
        let px = geometry.output.pixels().div_ceil(tile.px as usize);
        px * geometry.output.c.div_ceil(tile.co as usize)
    };
    let enough = TILES
        .into_iter()
        .find(|tile| workgroups(tile) >= WORKGROUPS_WANTED);
    enough.unwrap_or(TILES[TILES.len() - 1])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::Padding;
    use crate::kernels::conv2d::Residual;
    use crate::tensor::Shape;

    fn chosen(n: usize, c: usize, side: usize) -> u32 {
        let shape = Shape::new(n, c, side, side);
        tile_for(&Geometry {
            input: shape,
            output: shape,
            kernel: [1, 1],
            stride: [1, 1],
            padding: Padding::all(0),
            groups: 1,
            relu: false,
            residual: Residual::None,
        })
        .px
    }

    #[test]
    fn large_outputs_get_large_tiles_and_small_outputs_many_workgroups() {
        assert_eq!(chosen(1, 256, 56), 128, "25 × 4 tiles of 128 pixels");
        assert_eq!(chosen(1, 128, 56), 64, "49 × 2 tiles of 64 pixels");
        assert_eq!(chosen(1, 512, 7), 32, "49 pixels");
        assert_eq!(chosen(32, 512, 7), 128, "a batch of 32 of them");
    }
}
