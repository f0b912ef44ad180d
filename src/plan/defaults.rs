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
use crate::kernels::Precision;
use crate::kernels::conv2d::{Geometry, Tile};
use crate::kernels::textures::{conv2d_quad, conv2d_texture};
use crate::kernels::winograd::{self, OutTile};
use crate::tensor::Shape;

const fn tile(px: u32, co: u32, k: u32, per_thread_px: u32, per_thread_co: u32) -> Tile {
    Tile {
        px,
        co,
        k,
        per_thread_px,
        per_thread_co,
        arithmetic: Precision::F32,
    }
}

/// A tile of halves: 4×8 sums per thread in single precision, and as many of a step in half precision.
/// RDNA2: 83 % of the hottest block are packed multiply-adds, 8 waves per SIMD. 8×8 have 6 waves, and
/// spill on RDNA3.
const fn half_tile(px: u32) -> Tile {
    Tile {
        arithmetic: Precision::F16,
        ..tile(px, 64, 32, 4, 8)
    }
}

/// RDNA2: 89 % of the hottest block are multiply-adds, 8 waves per SIMD; 12 KiB of workgroup memory.
const T128X64: Tile = tile(128, 64, 16, 8, 8);
/// RDNA2: 89 %, 8 waves.
const T64X64: Tile = tile(64, 64, 16, 8, 8);
/// RDNA2: 85 %, 10 waves. Half the registers of [`T64X64`] for the sums.
const T64X64_8X4: Tile = tile(64, 64, 16, 8, 4);
/// RDNA2: 80 %. A quarter of the registers, 256 threads.
const T64X64_4X4: Tile = tile(64, 64, 16, 4, 4);
/// RDNA2: 83 %, 12 waves.
const T32X64: Tile = tile(32, 64, 16, 4, 8);
/// RDNA2: 79 %.
const T32X64_4X4: Tile = tile(32, 64, 16, 4, 4);

/// Those that may be fastest for the products of Winograd's algorithms, which have many workgroups.
pub(super) const PRODUCT_TILES: [Tile; 3] = [T128X64, T64X64_8X4, T32X64];

/// Tiles for devices with half arithmetic, from the largest to the smallest.
const HALF_TILES: [Tile; 3] = [half_tile(128), half_tile(64), half_tile(32)];

/// All tiles of the kernels on buffers.
const BUFFER_TILES: [Tile; 6] = [T128X64, T64X64, T64X64_8X4, T64X64_4X4, T32X64, T32X64_4X4];

/// The tiles that may be fastest on buffers.
pub(super) fn tiles(options: &PlanOptions) -> Vec<Tile> {
    let halves = HALF_TILES.into_iter().filter(|_| options.half_arithmetic());
    BUFFER_TILES.into_iter().chain(halves).collect()
}

/// What the kernels on buffers do by default on a kind of device.
struct BufferDefaults {
    class: DeviceClass,
    /// `None` for all others.
    vendor: Option<Vendor>,
    /// From the largest to the smallest.
    tiles: &'static [Tile],
    /// Whether it multiplies halves faster than single precision, where that is all that is stored.
    fast_halves: bool,
    /// Workgroups that a dispatch should have: about two for each compute unit. wgpu does not tell how
    /// many there are.
    workgroups_wanted: usize,
    /// What a typical device can do, to tell whether Winograd's algorithms pay: `None` for never.
    peak: Option<Peak>,
}

/// Arithmetic and memory of a device, by its data sheet.
#[derive(Clone, Copy)]
struct Peak {
    /// Single precision, 10⁹ operations per second.
    gflops: u64,
    /// 10⁹ bytes per second.
    gbytes: u64,
}

impl Peak {
    /// Time of a dispatch that is bound by one of them, in picoseconds.
    const fn picoseconds(self, operations: u64, bytes: u64) -> u64 {
        let (arithmetic, memory) = (operations * 1000 / self.gflops, bytes * 1000 / self.gbytes);
        if arithmetic > memory {
            arithmetic
        } else {
            memory
        }
    }
}

/// What a dispatch costs that waits for another one, in picoseconds: 2 to 5 µs on discrete GPUs.
const DISPATCH: u64 = 3_000_000;

/// The tiles that keep 64 sums per thread, down to 32.
const LARGE: &[Tile] = &[T128X64, T64X64, T32X64];
/// At most 32 sums per thread.
const MEDIUM: &[Tile] = &[T64X64_8X4, T32X64_4X4];
/// 16 sums per thread.
const SMALL: &[Tile] = &[T64X64_4X4, T32X64_4X4];

/// The first row that fits holds; the last one fits all.
const BUFFER_DEFAULTS: &[BufferDefaults] = &[
    // 256 registers and large register files: RX 6600 to 7900 XTX have 28 to 96 compute units. RX 6800 XT:
    // 20.7 TFLOP/s, 512 GB/s.
    row(
        DeviceClass::Discrete,
        Some(Vendor::Amd),
        LARGE,
        80,
        Some([20_700, 512]),
    ),
    // 255 registers; RTX 3060 to 4090 have 28 to 128 multiprocessors. ggml's Vulkan backend takes the
    // largest tile that makes two workgroups for each. RTX 4070: 29.1 TFLOP/s, 504 GB/s.
    row(
        DeviceClass::Discrete,
        Some(Vendor::Nvidia),
        LARGE,
        128,
        Some([29_100, 504]),
    ),
    // 128 registers of 32 bytes for each hardware thread: 64 sums would spill at 16 lanes. Arc A380 to
    // A770 have 8 to 32 cores. A770: 17.2 TFLOP/s, 560 GB/s.
    row(
        DeviceClass::Discrete,
        Some(Vendor::Intel),
        MEDIUM,
        48,
        Some([17_200, 560]),
    ),
    // As above; UHD 770 to Iris Xe have 2 to 6 slices of 16 execution units. UHD 770: 0.79 TFLOP/s, 77 GB/s.
    row(
        DeviceClass::Integrated,
        Some(Vendor::Intel),
        MEDIUM,
        12,
        Some([790, 77]),
    ),
    // More than 104 registers of 16 bits for a thread leave fewer threads on a core (D. Johnson's
    // description of the M1's GPU); M1 to M2 Max have 7 to 38 cores. M2: 3.6 TFLOP/s, 100 GB/s.
    row(
        DeviceClass::Integrated,
        Some(Vendor::Apple),
        MEDIUM,
        32,
        Some([3_600, 100]),
    ),
    // The same compute units as the cards: 2 to 16 of them. Radeon 680M: 3.4 TFLOP/s, 102 GB/s.
    row(
        DeviceClass::Integrated,
        Some(Vendor::Amd),
        LARGE,
        16,
        Some([3_400, 102]),
    ),
    // Few registers: ncnn keeps 16 sums per thread everywhere. Mali and Adreno have 2 to 16 cores.
    // Adreno 730: 2.1 TFLOP/s, 51 GB/s.
    row(
        DeviceClass::Integrated,
        Some(Vendor::Mobile),
        SMALL,
        16,
        Some([2_100, 51]),
    ),
    // A workgroup runs on one core of the CPU, and there are few of them. Winograd was not measured.
    row(DeviceClass::Software, None, LARGE, 8, None),
    // Two for each of the 40 compute units of a middle-class card, more than an integrated one needs.
    // What is known of no device is not worth three dispatches for one.
    row(DeviceClass::Unknown, None, LARGE, 80, None),
];

const fn row(
    class: DeviceClass,
    vendor: Option<Vendor>,
    tiles: &'static [Tile],
    workgroups_wanted: usize,
    peak: Option<[u64; 2]>,
) -> BufferDefaults {
    BufferDefaults {
        class,
        vendor,
        tiles,
        // Twice as fast there by their makers' documents; not on GeForce. On Mali and Adreno a tile of
        // halves has too many registers.
        fast_halves: matches!(vendor, Some(Vendor::Amd | Vendor::Apple | Vendor::Intel)),
        workgroups_wanted,
        peak: match peak {
            Some([gflops, gbytes]) => Some(Peak { gflops, gbytes }),
            None => None,
        },
    }
}

/// Products of a slice that are worth a workgroup of its own, at least.
const SLICE_PRODUCTS: usize = 128;
/// Slices that a reduction may have: the dispatch that adds up many of them is bound by memory.
pub(super) const SLICES: [usize; 3] = [2, 4, 8];
/// From so many workgroups on no device idles.
const WORKGROUPS_OF_ANY: u64 = 256;

/// Whether the reduction of a layer is long enough, and its output small enough, to be split.
pub(super) fn may_split(geometry: &Geometry, tile: Tile, slices: usize) -> bool {
    let [x, y] = tile.workgroups(geometry);
    let products = tile.k_steps(geometry) * tile.k as usize;
    x * y < WORKGROUPS_OF_ANY && products >= slices * SLICE_PRODUCTS
}

/// Whether a layer may be computed with cooperative matrices: of an image's three channels they would
/// multiply mostly zeros.
pub(super) fn may_cooperate(geometry: &Geometry, options: &PlanOptions) -> bool {
    options.cooperative_matrix() && geometry.input.c >= 16
}

impl BufferDefaults {
    fn of(device: Device) -> &'static Self {
        let fits = |row: &&Self| {
            row.class == device.class && row.vendor.is_none_or(|vendor| vendor == device.vendor)
        };
        let last = &BUFFER_DEFAULTS[BUFFER_DEFAULTS.len() - 1];
        BUFFER_DEFAULTS.iter().find(fits).unwrap_or(last)
    }

    /// The tiles for a plan.
    fn tiles(&self, options: &PlanOptions) -> &[Tile] {
        if self.fast_halves && options.half_arithmetic() {
            &HALF_TILES
        } else {
            self.tiles
        }
    }

    /// The largest tile that makes enough workgroups for so many problems, else the smallest.
    fn tile_for(&self, tiles: &[Tile], geometry: &Geometry, problems: usize) -> Tile {
        let workgroups = |tile: &Tile| tile.workgroups(geometry).iter().product::<u64>();
        let mut sizes = tiles.iter();
        let enough =
            sizes.find(|tile| workgroups(tile) * problems as u64 >= self.workgroups_wanted as u64);
        *enough.unwrap_or(&tiles[tiles.len() - 1])
    }

    /// Slices of the reduction: as few as make enough workgroups, else as many as there may be. Where
    /// less than half of the workgroups are missing the second dispatch would cost more than it saves.
    fn slices(&self, geometry: &Geometry, tile: Tile) -> usize {
        let [x, y] = tile.workgroups(geometry);
        let workgroups = usize::try_from(x * y).unwrap_or(usize::MAX);
        if workgroups.saturating_mul(2) > self.workgroups_wanted {
            return 1;
        }
        let mut possible = SLICES.into_iter().filter(|&s| may_split(geometry, tile, s));
        let enough = possible
            .clone()
            .find(|s| workgroups * s >= self.workgroups_wanted);
        enough.or(possible.next_back()).unwrap_or(1)
    }

    fn candidate_for(&self, geometry: &Geometry, options: &PlanOptions) -> Candidate {
        if let Some(out_tile) = self.winograd_for(geometry, options) {
            let product = winograd::product(geometry, out_tile);
            // Its transforms have lost bits already: the products are in single precision.
            let tile = self.tile_for(self.tiles, &product, out_tile.components());
            return Candidate::WinogradTiled(out_tile, tile);
        }
        if may_cooperate(geometry, options) {
            // Asked for. Units for matrices are several times as fast as any other arithmetic.
            return Candidate::Cooperative;
        }
        let tile = self.tile_for(self.tiles(options), geometry, 1);
        match self.slices(geometry, tile) {
            1 => Candidate::Tiled(tile),
            slices => Candidate::Split(tile, slices),
        }
    }

    /// The sides of Winograd's tiles, `None` to compute a layer directly.
    fn winograd_for(&self, geometry: &Geometry, options: &PlanOptions) -> Option<OutTile> {
        let out_tiles = [OutTile::Two, OutTile::Four].into_iter();
        let mut possible = out_tiles.filter(|&o| allows(options, geometry, o));
        if options.winograd != Winograd::Auto {
            return possible.next();
        }
        let peak = self.peak?;
        let scalar = options.precision.bytes();
        let bytes = |shape: Shape| (shape.packed_len() * scalar) as u64;
        let weights = (geometry.input.c * geometry.output.c * scalar) as u64;
        let macs = |shape: Shape| (shape.pixels() * geometry.input.c * geometry.output.c) as u64;
        let moved = bytes(geometry.input) + bytes(geometry.output);
        let direct = peak.picoseconds(2 * 9 * macs(geometry.output), moved + 9 * weights);
        let timed = possible.map(|out_tile| {
            let components = out_tile.components() as u64;
            let product = winograd::product(geometry, out_tile);
            let (before, after) = (
                components * bytes(product.input),
                components * bytes(product.output),
            );
            let operations = 2 * components * macs(product.output);
            let products = peak.picoseconds(operations, before + components * weights + after);
            let transforms = peak.picoseconds(0, bytes(geometry.input) + before)
                + peak.picoseconds(0, after + bytes(geometry.output));
            (out_tile, products + transforms + 2 * DISPATCH)
        });
        let (out_tile, time) = timed.min_by_key(|&(_, time)| time)?;
        // A gain below a tenth is within the error of the estimate.
        (time * 10 < direct * 9).then_some(out_tile)
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
        return Ok(row.candidate_for(geometry, options));
    }
    let tiles = TextureTiles::of(&options.limits);
    let (tile, direct) = tiles.fastest(geometry);
    let out_tiles = [OutTile::Two, OutTile::Four].into_iter();
    let timed = out_tiles
        .filter(|&out_tile| allows(options, geometry, out_tile))
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
    /// `None` for what is no default, only a candidate.
    speed: Option<u64>,
}

const fn texture(lanes: u32, co: u32, px_groups: u32, speed: Option<u64>) -> TextureTile {
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
    speed: Some(6),
}];

/// llvmpipe at its usual width (Mesa 22.3, LLVM 15). 32×2 is for the products of Winograd convolutions
/// of few tiles; 32×4 and 16×7 are for processors with a smaller cache of decoded instructions than
/// Zen 4's and are candidates only.
const EIGHT_LANE_TILES: &[TextureTile] = &[
    texture(8, 32, 7, Some(70)),
    texture(8, 32, 5, Some(65)),
    texture(8, 32, 2, Some(50)),
    texture(8, 32, 4, None),
    texture(8, 16, 7, None),
];

/// llvmpipe with `LP_NATIVE_VECTOR_WIDTH=512`: half as many groups fill the small layers.
const SIXTEEN_LANE_TILES: &[TextureTile] = &[
    texture(16, 32, 7, Some(102)),
    texture(16, 32, 4, Some(86)),
    texture(16, 32, 2, Some(72)),
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
        let timed = self
            .0
            .iter()
            .filter_map(|tile| Some((tile.tile, tile.picoseconds(geometry)?)));
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
    /// Time of all workgroups of one problem on one core, where the speed is known.
    fn picoseconds(&self, geometry: &Geometry) -> Option<u64> {
        let Self { tile, speed } = *self;
        let steps = geometry.kernel[0] * geometry.kernel[1] * geometry.input.channel_groups();
        let [x, y] = tile.workgroups(geometry);
        let outputs = u64::from(tile.co * tile.px_groups);
        // Four products of a step, two operations each.
        let step = outputs * u64::from(tile.lanes) * 4 * 2 * 1000 / speed?;
        // Four outputs are a texel; a store takes 50 ns with what comes before the loop.
        let rest = outputs / 4 * 50_000;
        Some(x * y * (steps as u64 * step + rest))
    }
}

/// The tiles that may be fastest on textures.
pub(super) fn texture_tiles(limits: &Limits) -> impl Iterator<Item = conv2d_texture::Tile> {
    TextureTiles::of(limits).0.iter().map(|tile| tile.tile)
}

#[cfg(test)]
mod tests {
    use super::super::options::Limits;
    use super::*;
    use crate::graph::Padding;
    use crate::kernels::conv2d::Residual;

    fn geometry(n: usize, c: usize, side: usize, kernel: usize) -> Geometry {
        let shape = Shape::new(n, c, side, side);
        Geometry {
            input: shape,
            output: shape,
            kernel: [kernel; 2],
            stride: [1, 1],
            padding: Padding::all(kernel / 2),
            groups: 1,
            relu: false,
            residual: Residual::None,
        }
    }

    fn chosen(device: Device, n: usize, c: usize, side: usize) -> Tile {
        let row = BufferDefaults::of(device);
        row.tile_for(row.tiles, &geometry(n, c, side, 1), 1)
    }

    #[test]
    fn the_tile_on_textures_wastes_few_lanes() {
        let chosen = |tiles, side| {
            let (tile, _) = TextureTiles(tiles).fastest(&geometry(1, 256, side, 1));
            tile.to_string()
        };
        assert_eq!(chosen(EIGHT_LANE_TILES, 56), "32x7", "56 tiles fit");
        assert_eq!(chosen(EIGHT_LANE_TILES, 14), "32x5", "196 of 200 pixels");
        assert_eq!(chosen(EIGHT_LANE_TILES, 4), "32x2", "16 of 16 pixels");
        assert_eq!(chosen(SIXTEEN_LANE_TILES, 56), "32x7", "28 tiles fit");
        assert_eq!(chosen(SIXTEEN_LANE_TILES, 7), "32x4", "49 of 64 pixels");
        assert_eq!(chosen(QUAD_TILES, 7), "16x4", "the only one");
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
    fn long_reductions_of_small_outputs_are_split_until_there_are_enough_workgroups() {
        let slices = |class, c, side, kernel| {
            let row = BufferDefaults::of(Device {
                class,
                ..Device::default()
            });
            let geometry = geometry(1, c, side, kernel);
            row.slices(&geometry, row.tile_for(row.tiles, &geometry, 1))
        };
        use DeviceClass::{Software, Unknown};
        assert_eq!(slices(Unknown, 512, 7, 3), 8, "128 of 16 workgroups");
        assert_eq!(slices(Unknown, 256, 14, 3), 4, "112 of 28");
        assert_eq!(slices(Unknown, 256, 14, 1), 2, "two slices of 128 products");
        assert_eq!(
            slices(Unknown, 128, 28, 3),
            1,
            "50 workgroups are more than half"
        );
        assert_eq!(slices(Software, 512, 7, 3), 1, "few cores");
    }

    fn wanted(winograd: Winograd) -> PlanOptions {
        PlanOptions {
            winograd,
            ..PlanOptions::default()
        }
    }

    #[test]
    fn winograd_pays_where_arithmetic_is_dear() {
        let chosen = |class, vendor, n, c, side| {
            let row = BufferDefaults::of(Device { class, vendor });
            row.winograd_for(&geometry(n, c, side, 3), &wanted(Winograd::Auto))
        };
        let uhd = |c, side| chosen(DeviceClass::Integrated, Vendor::Intel, 1, c, side);
        assert_eq!(uhd(64, 56), Some(OutTile::Four), "layer1");
        assert_eq!(
            uhd(512, 7),
            Some(OutTile::Two),
            "F4 would pad 7 to 8 for four times the weights"
        );
        for (c, side) in [(64, 56), (128, 28), (256, 14), (512, 7)] {
            let nvidia = chosen(DeviceClass::Discrete, Vendor::Nvidia, 1, c, side);
            assert_eq!(
                nvidia, None,
                "{c} channels: three dispatches and their traffic cost more"
            );
            let unknown = chosen(DeviceClass::Unknown, Vendor::Unknown, 8, c, side);
            assert_eq!(unknown, None, "nothing is known");
        }
        let stride_2 = Geometry {
            stride: [2, 2],
            ..geometry(1, 64, 56, 3)
        };
        let row = BufferDefaults::of(Device::default());
        assert_eq!(
            row.winograd_for(&stride_2, &wanted(Winograd::Four)),
            None,
            "it cannot"
        );
        let forced = row.winograd_for(&geometry(1, 64, 56, 3), &wanted(Winograd::Two));
        assert_eq!(forced, Some(OutTile::Two), "whatever it costs");
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

    #[test]
    fn halves_are_multiplied_where_that_is_fast_and_all_that_is_stored() {
        let chosen = |vendor, precision, half_arithmetic| {
            let device = Device {
                class: DeviceClass::Discrete,
                vendor,
            };
            let options = PlanOptions {
                precision,
                limits: Limits {
                    device,
                    half_arithmetic,
                    ..Limits::default()
                },
                ..PlanOptions::default()
            };
            let row = BufferDefaults::of(device);
            match row.candidate_for(&geometry(8, 64, 56, 1), &options) {
                Candidate::Tiled(tile) => tile.arithmetic,
                other => panic!("{other}"),
            }
        };
        use Precision::{F16, F32};
        assert_eq!(chosen(Vendor::Amd, F16, true), F16, "packed arithmetic");
        assert_eq!(chosen(Vendor::Amd, F16, false), F32, "the device cannot");
        assert_eq!(chosen(Vendor::Amd, F32, true), F32, "nobody asked for it");
        assert_eq!(chosen(Vendor::Nvidia, F16, true), F32, "no faster");
    }
}
