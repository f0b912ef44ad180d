//! The algorithm for each layer on textures by default, and the alternatives: a table of tiles with
//! their speeds.

use super::{OnTextures, Textures};
use crate::kernels::conv2d::Geometry;
use crate::kernels::textures::conv2d_quad;
use crate::kernels::textures::conv2d_texture::Tile;
use crate::kernels::winograd::{self, OutTile};
use crate::plan::candidate::{distinct, out_tiles};
use crate::plan::options::Winograd;
use crate::tensor::Shape;

impl Textures<'_> {
    /// All algorithms that can compute a layer, the default first, each once.
    pub(super) fn algorithms(&self, geometry: &Geometry) -> Vec<OnTextures> {
        let default = self.default_algorithm(geometry);
        let tiles = || self.tiles.0.iter().map(|rated| rated.tile);
        let mut others: Vec<OnTextures> = tiles().map(OnTextures::Tiled).collect();
        for out_tile in out_tiles(self.options, geometry) {
            others.extend(tiles().map(|tile| OnTextures::Winograd(out_tile, tile)));
        }
        let is_winograd = |algorithm: &OnTextures| matches!(algorithm, OnTextures::Winograd(..));
        if is_winograd(&default) && self.options.winograd != Winograd::Auto {
            others.retain(is_winograd);
        }
        distinct(default, others)
    }

    /// The algorithm that computes a layer by default.
    pub(super) fn default_algorithm(&self, geometry: &Geometry) -> OnTextures {
        let (tile, direct) = self.tiles.fastest(geometry);
        let timed = out_tiles(self.options, geometry)
            .map(|out_tile| (out_tile, self.tiles.winograd_time(geometry, out_tile)));
        let best = timed.min_by_key(|&(_, time)| time);
        // A gain of less than a tenth is within the error of the estimate.
        let asked_for = self.options.winograd != Winograd::Auto;
        match best.filter(|(_, time)| asked_for || time * 10 < direct * 9) {
            Some((out_tile, _)) => self.tiles.winograd(geometry, out_tile),
            None => OnTextures::Tiled(tile),
        }
    }

    /// The best algorithm for each order of the weights, the fastest first.
    pub(super) fn kinds(&self, geometry: &Geometry) -> Vec<OnTextures> {
        let (tile, direct) = self.tiles.fastest(geometry);
        let timed = out_tiles(self.options, geometry).map(|out_tile| {
            let time = self.tiles.winograd_time(geometry, out_tile);
            (self.tiles.winograd(geometry, out_tile), time)
        });
        let mut kinds: Vec<_> = timed.chain([(OnTextures::Tiled(tile), direct)]).collect();
        kinds.sort_by_key(|&(_, time)| time);
        kinds.into_iter().map(|(kind, _)| kind).collect()
    }
}

/// A tile of the kernels on textures, and the speed of its loop when it fits exactly, in GFLOP/s on
/// one core of a Zen 5. `shaders/README.md` lists the tiles that lost.
#[derive(Clone, Copy)]
struct Rated {
    tile: Tile,
    /// `None` for tiles that are only candidates, never defaults.
    speed: Option<u64>,
}

const fn texture(lanes: u32, co: u32, px_groups: u32, speed: Option<u64>) -> Rated {
    Rated {
        tile: Tile {
            co,
            px_groups,
            lanes,
            fused: false,
        },
        speed,
    }
}

/// A tile for eight lanes that adds products by `fma`.
const fn fused(co: u32, px_groups: u32, speed: Option<u64>) -> Rated {
    let mut rated = texture(8, co, px_groups, speed);
    rated.tile.fused = true;
    rated
}

/// SwiftShader: 32×4, 16×8 and 8×8 were within the noise of 16×4.
const QUAD_TILES: &[Rated] = &[Rated {
    tile: conv2d_quad::TILE,
    speed: Some(6),
}];

/// llvmpipe at its default width (Mesa 22.3, LLVM 15), as measured on a Zen 3. 32×2 is for Winograd
/// convolutions of few tiles; 32×7 is for processors with a larger cache of decoded instructions and
/// never a default.
const EIGHT_LANE_TILES: &[Rated] = &[
    texture(8, 32, 5, Some(65)),
    texture(8, 16, 7, Some(61)),
    texture(8, 32, 2, Some(50)),
    texture(8, 32, 4, None),
    texture(8, 32, 7, None),
];

/// llvmpipe since Mesa 23.2, which calls a function for each texel fetch (25.0, LLVM 19, on a Zen 3): loops have to be shorter.
const CALLING_TILES: &[Rated] = &[
    texture(8, 32, 4, Some(62)),
    texture(8, 24, 5, Some(60)),
    texture(8, 16, 7, Some(60)),
    texture(8, 32, 2, Some(46)),
    texture(8, 32, 5, None),
];

/// llvmpipe since Mesa 26, which has `fma` (26.2, LLVM 22, on a Zen 3).
const FUSED_TILES: &[Rated] = &[
    fused(32, 4, Some(63)),
    fused(24, 5, Some(63)),
    fused(16, 5, Some(57)),
    fused(16, 7, Some(57)),
    fused(32, 2, Some(48)),
    fused(32, 5, None),
];

/// llvmpipe with `LP_NATIVE_VECTOR_WIDTH=512`: small layers are filled by half as many groups.
const SIXTEEN_LANE_TILES: &[Rated] = &[
    texture(16, 32, 7, Some(102)),
    texture(16, 32, 4, Some(86)),
    texture(16, 32, 2, Some(72)),
];

/// The tiles for a device.
pub(super) struct Tiles(&'static [Rated]);

impl Tiles {
    /// The tiles for subgroups of this many lanes, and for llvmpipe in this version of Mesa.
    pub(super) const fn of(lanes: u32, llvmpipe: Option<u32>) -> Self {
        Self(match (lanes, llvmpipe) {
            (conv2d_quad::LANES, _) => QUAD_TILES,
            (16, _) => SIXTEEN_LANE_TILES,
            (_, Some(26..)) => FUSED_TILES,
            (_, Some(23..)) => CALLING_TILES,
            _ => EIGHT_LANE_TILES,
        })
    }

    /// The tile that should be fastest, and the total time of its workgroups on one core.
    fn fastest(&self, geometry: &Geometry) -> (Tile, u64) {
        let timed = self
            .0
            .iter()
            .filter_map(|tile| Some((tile.tile, tile.picoseconds(geometry)?)));
        let best = timed.min_by_key(|&(_, time)| time);
        best.unwrap_or((self.0[0].tile, 0))
    }

    /// Winograd's algorithm with the tile that should be fastest for its products.
    fn winograd(&self, geometry: &Geometry, out_tile: OutTile) -> OnTextures {
        let (tile, _) = self.fastest(&winograd::product(geometry, out_tile));
        OnTextures::Winograd(out_tile, tile)
    }

    /// The time of the three dispatches on one core, in picoseconds: 12 ns for each texel that a
    /// subgroup fetches, about as much for its sums, and 40 ns for each texel that it stores.
    fn winograd_time(&self, geometry: &Geometry, out_tile: OutTile) -> u64 {
        let product = winograd::product(geometry, out_tile);
        let components = out_tile.components() as u64;
        let outputs = (out_tile.side() * out_tile.side()) as u64;
        let (tile, products) = self.fastest(&product);
        let subgroups = |shape: Shape| {
            let texels = (shape.pixels() * shape.channel_groups()) as u64;
            texels.div_ceil(tile.lanes.into())
        };
        // Four lanes mean SwiftShader, which keeps the transforms' arrays in memory.
        let slowness = if tile.lanes == conv2d_quad::LANES {
            5
        } else {
            1
        };
        let before = subgroups(product.input) * components * (12 + 40 + 12);
        let after = subgroups(product.output) * (components * (12 + 8) + outputs * 40);
        components * products + (before + after) * slowness * 1000
    }
}

impl Rated {
    /// The total time of all workgroups of a layer on one core; `None` if the speed is unknown.
    fn picoseconds(&self, geometry: &Geometry) -> Option<u64> {
        let Self { tile, speed } = *self;
        let steps = geometry.kernel[0] * geometry.kernel[1] * geometry.input.channel_groups();
        let [x, y] = tile.workgroups(geometry);
        let outputs = u64::from(tile.co * tile.px_groups);
        // Four products per step, two operations each.
        let step = outputs * u64::from(tile.lanes) * 4 * 2 * 1000 / speed?;
        // Four outputs make a texel; a store, and the code before the loop, take 50 ns.
        let rest = outputs / 4 * 50_000;
        Some(x * y * (steps as u64 * step + rest))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::Padding;
    use crate::kernels::conv2d::Residual;

    #[test]
    fn the_tile_on_textures_wastes_few_lanes() {
        let chosen = |tiles, side| {
            let (tile, _) = Tiles(tiles).fastest(&pointwise(side));
            tile.to_string()
        };
        assert_eq!(chosen(EIGHT_LANE_TILES, 14), "32x5", "196 of 200 pixels");
        assert_eq!(chosen(EIGHT_LANE_TILES, 7), "16x7", "49 of 56 pixels");
        assert_eq!(chosen(EIGHT_LANE_TILES, 4), "32x2", "16 of 16 pixels");
        assert_eq!(chosen(CALLING_TILES, 56), "32x4", "98 tiles fit");
        assert_eq!(chosen(FUSED_TILES, 14), "24x5", "196 of 200 pixels");
        assert_eq!(chosen(SIXTEEN_LANE_TILES, 56), "32x7", "28 tiles fit");
        assert_eq!(chosen(SIXTEEN_LANE_TILES, 7), "32x4", "49 of 64 pixels");
        assert_eq!(chosen(QUAD_TILES, 7), "16x4", "the only one");
    }

    /// A 1×1 convolution from 256 channels to 256.
    fn pointwise(side: usize) -> Geometry {
        let shape = Shape::new(1, 256, side, side);
        Geometry {
            input: shape,
            output: shape,
            kernel: [1; 2],
            stride: [1; 2],
            padding: Padding::all(0),
            dilation: [1; 2],
            groups: 1,
            relu: false,
            residual: Residual::None,
            projection: None,
        }
    }
}
