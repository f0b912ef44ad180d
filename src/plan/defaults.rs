//! Which candidate computes a layer as long as nobody has measured: one table for buffers, one for
//! textures. Every row has its reason.
//!
//! On buffers, a large tile does more arithmetic per byte that it loads; a small one makes more
//! workgroups. At batch 1 the last stages of a ResNet have 49 output pixels, and a GPU whose compute
//! units have no workgroup idles: the largest tile that still makes enough workgroups wins.

use super::candidate::{Candidate, ConvShape, allows};
use super::device::{Device, DeviceClass, Vendor};
use super::options::{Limits, PlanOptions, Winograd};
use crate::error::Error;
use crate::kernels::conv2d::{Geometry, Tile};
use crate::kernels::winograd::{self, OutTile};
use crate::kernels::{conv2d_quad, conv2d_texture};
use crate::tensor::Shape;

const fn tile(px: u32, co: u32, k: u32, per_thread_px: u32, per_thread_co: u32) -> Tile {
    Tile {
        px,
        co,
        k,
        per_thread_px,
        per_thread_co,
    }
}

/// RDNA2: 89 % of the hottest block are multiply-adds, 8 waves per SIMD; 12 KiB of workgroup memory.
const T128X64: Tile = tile(128, 64, 16, 8, 8);
/// RDNA2: 89 %, 8 waves.
const T64X64: Tile = tile(64, 64, 16, 8, 8);
/// RDNA2: 86 %, 10 waves. Half the registers of [`T64X64`] for the sums.
const T64X64_8X4: Tile = tile(64, 64, 16, 8, 4);
/// RDNA2: 82 %. A quarter of the registers, 256 threads.
const T64X64_4X4: Tile = tile(64, 64, 16, 4, 4);
/// RDNA2: 83 %, 12 waves.
const T32X64: Tile = tile(32, 64, 16, 4, 8);
/// RDNA2: 78 %.
const T32X64_4X4: Tile = tile(32, 64, 16, 4, 4);

/// All tiles of the kernels on buffers.
pub(super) const BUFFER_TILES: [Tile; 6] =
    [T128X64, T64X64, T64X64_8X4, T64X64_4X4, T32X64, T32X64_4X4];

/// What the kernels on buffers do by default on a kind of device.
struct BufferDefaults {
    class: DeviceClass,
    /// `None` for all others.
    vendor: Option<Vendor>,
    /// From the largest to the smallest.
    tiles: &'static [Tile],
    /// Workgroups that a dispatch should have: about two for each compute unit. wgpu does not tell how
    /// many there are.
    workgroups_wanted: usize,
}

/// The tiles that keep 64 sums per thread, down to 32.
const LARGE: &[Tile] = &[T128X64, T64X64, T32X64];
/// At most 32 sums per thread.
const MEDIUM: &[Tile] = &[T64X64_8X4, T32X64_4X4];
/// 16 sums per thread.
const SMALL: &[Tile] = &[T64X64_4X4, T32X64_4X4];

/// The first row that fits holds; the last one fits all.
const BUFFER_DEFAULTS: &[BufferDefaults] = &[
    // 256 registers and large register files: RX 6600 to 7900 XTX have 28 to 96 compute units.
    row(DeviceClass::Discrete, Some(Vendor::Amd), LARGE, 80),
    // 255 registers; RTX 3060 to 4090 have 28 to 128 multiprocessors. ggml's Vulkan backend takes the
    // largest tile that makes two workgroups for each.
    row(DeviceClass::Discrete, Some(Vendor::Nvidia), LARGE, 128),
    // 128 registers of 32 bytes for each hardware thread: 64 sums would spill at 16 lanes. Arc A380 to
    // A770 have 8 to 32 cores.
    row(DeviceClass::Discrete, Some(Vendor::Intel), MEDIUM, 48),
    // As above; UHD 770 to Iris Xe have 2 to 6 slices of 16 execution units.
    row(DeviceClass::Integrated, Some(Vendor::Intel), MEDIUM, 12),
    // More than 104 registers of 16 bits for a thread leave fewer threads on a core (D. Johnson's
    // description of the M1's GPU); M1 to M2 Max have 7 to 38 cores.
    row(DeviceClass::Integrated, Some(Vendor::Apple), MEDIUM, 32),
    // The same compute units as the cards: 2 to 16 of them.
    row(DeviceClass::Integrated, Some(Vendor::Amd), LARGE, 16),
    // Few registers: ncnn keeps 16 sums per thread everywhere. Mali and Adreno have 2 to 16 cores.
    row(DeviceClass::Integrated, Some(Vendor::Mobile), SMALL, 16),
    // A workgroup runs on one core of the CPU, and there are few of them.
    row(DeviceClass::Software, None, LARGE, 8),
    // Two for each of the 40 compute units of a middle-class card, more than an integrated one needs.
    row(DeviceClass::Unknown, None, LARGE, 80),
];

const fn row(
    class: DeviceClass,
    vendor: Option<Vendor>,
    tiles: &'static [Tile],
    workgroups_wanted: usize,
) -> BufferDefaults {
    BufferDefaults {
        class,
        vendor,
        tiles,
        workgroups_wanted,
    }
}

impl BufferDefaults {
    fn of(device: Device) -> &'static Self {
        let fits = |row: &&Self| {
            row.class == device.class && row.vendor.is_none_or(|vendor| vendor == device.vendor)
        };
        let last = &BUFFER_DEFAULTS[BUFFER_DEFAULTS.len() - 1];
        BUFFER_DEFAULTS.iter().find(fits).unwrap_or(last)
    }

    /// The largest tile that makes enough workgroups, else the smallest.
    fn tile_for(&self, geometry: &Geometry) -> Tile {
        let workgroups = |tile: &Tile| {
            let px = geometry.output.pixels().div_ceil(tile.px as usize);
            px * geometry.output.c.div_ceil(tile.co as usize)
        };
        let mut tiles = self.tiles.iter();
        let enough = tiles.find(|tile| workgroups(tile) >= self.workgroups_wanted);
        *enough.unwrap_or(&self.tiles[self.tiles.len() - 1])
    }
}

/// The default of a layer.
pub(super) fn candidate_for(shape: &ConvShape, options: &PlanOptions) -> Result<Candidate, Error> {
    let geometry = shape.geometry();
    if geometry.groups > 1 {
        // Tiles would multiply mostly zeros: a group of ResNeXt-50 has 4 to 32 channels.
        return Ok(Candidate::Grouped);
    }
    if !options.textures()? {
        let row = BufferDefaults::of(options.limits.device);
        return Ok(Candidate::Tiled(row.tile_for(geometry)));
    }
    let tiles = TextureTiles::of(&options.limits);
    let (tile, direct) = tiles.fastest(geometry);
    let out_tiles = [OutTile::Two, OutTile::Four].into_iter();
    let timed = out_tiles
        .filter(|&out_tile| allows(options.winograd, geometry, out_tile))
        .map(|out_tile| (out_tile, tiles.winograd_time(geometry, out_tile)));
    let best = timed.min_by_key(|&(_, time)| time);
    // A gain below a tenth is within the error of the estimate.
    let best =
        best.filter(|(_, time)| options.winograd != Winograd::Auto || time * 10 < direct * 9);
    Ok(match best {
        Some((out_tile, _)) => {
            let (tile, _) = tiles.fastest(&winograd::product(geometry, out_tile));
            Candidate::WinogradTexture(out_tile, tile)
        }
        None => Candidate::Texture(tile),
    })
}

/// A tile of the kernels on textures and its speed where it fits exactly, without what comes before and
/// after its loop, in GFLOP/s on one core of Zen 5. `shaders/README.md` has the tiles that lost.
#[derive(Clone, Copy)]
struct TextureTile {
    tile: conv2d_texture::Tile,
    speed: u64,
}

const fn texture(lanes: u32, co: u32, px_groups: u32, speed: u64) -> TextureTile {
    TextureTile {
        tile: conv2d_texture::Tile {
            co,
            px_groups,
            lanes,
        },
        speed,
    }
}

/// SwiftShader: 32×4, 16×8 and 8×8 were within the noise of 16×4.
const QUAD_TILES: &[TextureTile] = &[TextureTile {
    tile: conv2d_quad::TILE,
    speed: 6,
}];

/// llvmpipe at its usual width (Mesa 22.3, LLVM 15). 32×2 is for the products of Winograd convolutions
/// of few tiles; 32×4 and 16×7 are for processors with a smaller cache of decoded instructions than
/// Zen 4's and are candidates only.
const EIGHT_LANE_TILES: &[TextureTile] = &[
    texture(8, 32, 7, 70),
    texture(8, 32, 5, 65),
    texture(8, 32, 2, 50),
    texture(8, 32, 4, 0),
    texture(8, 16, 7, 0),
];

/// llvmpipe with `LP_NATIVE_VECTOR_WIDTH=512`: half as many groups fill the small layers.
const SIXTEEN_LANE_TILES: &[TextureTile] = &[
    texture(16, 32, 7, 102),
    texture(16, 32, 4, 86),
    texture(16, 32, 2, 72),
];

/// What the kernels on textures can do on a device.
struct TextureTiles(&'static [TextureTile]);

impl TextureTiles {
    /// Those for the device's subgroups.
    fn of(limits: &Limits) -> Self {
        Self(match limits.texture_lanes() {
            Ok(conv2d_quad::LANES) => QUAD_TILES,
            Ok(16) => SIXTEEN_LANE_TILES,
            _ => EIGHT_LANE_TILES,
        })
    }

    /// The tile that should be fastest, and the time of all workgroups of one problem on one core.
    fn fastest(&self, geometry: &Geometry) -> (conv2d_texture::Tile, u64) {
        let timed = self.0.iter().filter(|tile| tile.speed > 0);
        let timed = timed.map(|tile| (tile.tile, tile.picoseconds(geometry)));
        let best = timed.min_by_key(|&(_, time)| time);
        best.unwrap_or((self.0[0].tile, 0))
    }

    /// Time of the three dispatches on one core, in picoseconds: 12 ns for each texel fetched and 40 ns
    /// for each one stored by a subgroup, as much again for the sums.
    fn winograd_time(&self, geometry: &Geometry, out_tile: OutTile) -> u64 {
        let product = winograd::product(geometry, out_tile);
        let components = out_tile.components() as u64;
        let outputs = (out_tile.side() * out_tile.side()) as u64;
        let (tile, products) = self.fastest(&product);
        let subgroups = |shape: Shape| {
            let texels = (shape.pixels() * shape.channel_groups()) as u64;
            texels.div_ceil(tile.lanes.into())
        };
        // Four lanes are SwiftShader's, which keeps the arrays of the transforms in memory.
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

impl TextureTile {
    /// Time of all workgroups of one problem on one core.
    fn picoseconds(&self, geometry: &Geometry) -> u64 {
        let Self { tile, speed } = *self;
        let steps = geometry.kernel[0] * geometry.kernel[1] * geometry.input.channel_groups();
        let [x, y] = tile.workgroups(geometry);
        let outputs = u64::from(tile.co * tile.px_groups);
        // Four products of a step, two operations each.
        let step = outputs * u64::from(tile.lanes) * 4 * 2 * 1000 / speed;
        // Four outputs are a texel; a store takes 50 ns with what comes before the loop.
        let rest = outputs / 4 * 50_000;
        x * y * (steps as u64 * step + rest)
    }
}

/// The tiles that may be fastest on textures.
pub(super) fn texture_tiles(limits: &Limits) -> impl Iterator<Item = conv2d_texture::Tile> {
    TextureTiles::of(limits).0.iter().map(|tile| tile.tile)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::Padding;
    use crate::kernels::conv2d::Residual;

    fn chosen(device: Device, n: usize, c: usize, side: usize) -> Tile {
        let shape = Shape::new(n, c, side, side);
        BufferDefaults::of(device).tile_for(&Geometry {
            input: shape,
            output: shape,
            kernel: [1, 1],
            stride: [1, 1],
            padding: Padding::all(0),
            groups: 1,
            relu: false,
            residual: Residual::None,
        })
    }

    #[test]
    fn large_outputs_get_large_tiles_and_small_outputs_many_workgroups() {
        let px = |n, c, side| chosen(Device::default(), n, c, side).px;
        assert_eq!(px(1, 256, 56), 128, "25 × 4 tiles of 128 pixels");
        assert_eq!(px(1, 128, 56), 64, "49 × 2 tiles of 64 pixels");
        assert_eq!(px(1, 512, 7), 32, "49 pixels");
        assert_eq!(px(32, 512, 7), 128, "a batch of 32 of them");
    }

    #[test]
    fn the_kind_of_device_decides_how_many_workgroups_and_registers() {
        let device = |class, vendor| Device { class, vendor };
        let apple = device(DeviceClass::Integrated, Vendor::Apple);
        let intel = device(DeviceClass::Integrated, Vendor::Intel);
        let nvidia = device(DeviceClass::Discrete, Vendor::Nvidia);
        let other = device(DeviceClass::Discrete, Vendor::Unknown);
        assert_eq!(
            chosen(apple, 1, 128, 28),
            T32X64_4X4,
            "26 workgroups are too few"
        );
        assert_eq!(chosen(intel, 1, 128, 28), T64X64_8X4, "26 are enough");
        assert_eq!(chosen(nvidia, 1, 256, 56), T64X64, "100 are too few");
        assert_eq!(chosen(other, 1, 256, 56), T128X64, "as an unknown device");
    }

    #[test]
    fn every_tile_of_the_table_is_a_candidate() {
        for row in BUFFER_DEFAULTS {
            assert!(!row.tiles.is_empty(), "a row has tiles");
            for tile in row.tiles {
                assert!(BUFFER_TILES.contains(tile), "{tile}");
            }
        }
    }
}
