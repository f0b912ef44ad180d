//! Defaults of the kernels on buffers for each kind of device: a table with a reason for every row.
//!
//! A large tile does more arithmetic per byte that it loads; a small one gives more workgroups. At
//! batch 1 the last stages of a ResNet have 49 output pixels, and compute units without a workgroup
//! are idle: the largest tile that still gives enough workgroups is the best.

use crate::kernels::Precision;
use crate::kernels::conv2d::Tile;
use crate::plan::capabilities::{Capabilities, DeviceClass, DeviceKind, Vendor};

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

/// A half-precision tile: each thread has 4×8 sums in single precision, and as many in half
/// precision for one step. RDNA2: 83 % of the hottest block are packed multiply-adds, 8 waves per
/// SIMD. 8×8 would have 6 waves, and spills on RDNA3.
const fn half_tile(px: u32) -> Tile {
    Tile {
        arithmetic: Precision::F16,
        ..tile(px, 64, 32, 4, 8)
    }
}

/// RDNA2: 89 % of the hottest block are multiply-adds, 8 waves per SIMD; 12 KiB of workgroup
/// memory.
pub(super) const T128X64: Tile = tile(128, 64, 16, 8, 8);
/// RDNA2: 89 %, 8 waves.
pub(super) const T64X64: Tile = tile(64, 64, 16, 8, 8);
/// RDNA2: 85 %, 10 waves. The sums take half as many registers as in [`T64X64`].
pub(super) const T64X64_8X4: Tile = tile(64, 64, 16, 8, 4);
/// RDNA2: 80 %. The sums take a quarter of the registers; 256 threads.
pub(super) const T64X64_4X4: Tile = tile(64, 64, 16, 4, 4);
/// RDNA2: 83 %, 12 waves.
pub(super) const T32X64: Tile = tile(32, 64, 16, 4, 8);
/// RDNA2: 79 %.
pub(super) const T32X64_4X4: Tile = tile(32, 64, 16, 4, 4);

/// Tiles that may be fastest for the multiplication in Winograd's algorithm, which has many
/// workgroups.
pub(super) const PRODUCT_TILES: [Tile; 3] = [T128X64, T64X64_8X4, T32X64];

/// Tiles for devices with half-precision arithmetic, largest first.
pub(super) const HALF_TILES: [Tile; 3] = [half_tile(128), half_tile(64), half_tile(32)];

/// All tiles of the kernels on buffers.
pub(super) const TILES: [Tile; 6] = [T128X64, T64X64, T64X64_8X4, T64X64_4X4, T32X64, T32X64_4X4];

/// The defaults of the kernels on buffers for a kind of device.
#[derive(Clone, Copy)]
pub(super) struct Defaults {
    pub(super) class: DeviceClass,
    /// The vendor; `None` matches all.
    pub(super) vendor: Option<Vendor>,
    /// Tiles to choose from, largest first.
    pub(super) tiles: &'static [Tile],
    /// Whether half-precision arithmetic is faster, where values are stored that way.
    pub(super) fast_halves: bool,
    /// The compute units of a mid-range device, where those of the device are not known.
    units: u32,
    /// Peak rates of a typical device, which determine whether Winograd's algorithm pays off;
    /// `None` means never.
    peak: Option<Peak>,
}

/// The peak rates of a device's arithmetic and memory, from its data sheet.
#[derive(Clone, Copy)]
pub(super) struct Peak {
    /// The compute units of that device.
    units: u64,
    /// Single precision, in 10⁹ operations per second.
    gflops: u64,
    /// In 10⁹ bytes per second.
    gbytes: u64,
}

impl Peak {
    /// Those of a device of the same kind with more or fewer units, which has about as many times the memory.
    fn with_units(self, units: u64) -> Self {
        let scaled = |rate: u64| (rate * units / self.units).max(1);
        Self {
            units,
            gflops: scaled(self.gflops),
            gbytes: scaled(self.gbytes),
        }
    }

    /// The time of a dispatch that is limited by one of them, in picoseconds.
    pub(super) const fn picoseconds(self, operations: u64, bytes: u64) -> u64 {
        let (arithmetic, memory) = (operations * 1000 / self.gflops, bytes * 1000 / self.gbytes);
        if arithmetic > memory {
            arithmetic
        } else {
            memory
        }
    }
}

/// The cost of a dispatch that must wait for another, in picoseconds: 2 to 5 µs on discrete GPUs.
pub(super) const DISPATCH: u64 = 3_000_000;

/// Tiles with 64 to 32 sums per thread.
const LARGE: &[Tile] = &[T128X64, T64X64, T32X64];
/// At most 32 sums per thread.
const MEDIUM: &[Tile] = &[T64X64_8X4, T32X64_4X4];
/// 16 sums per thread.
const SMALL: &[Tile] = &[T64X64_4X4, T32X64_4X4];

/// The first row that matches applies; the last one matches everything.
pub(super) const DEFAULTS: &[Defaults] = &[
    // 256 registers and large register files: RX 6600 to 7900 XTX have 28 to 96 compute units. RX
    // 6800 XT: 20.7 TFLOP/s, 512 GB/s.
    row(
        DeviceClass::Discrete,
        Some(Vendor::Amd),
        LARGE,
        40,
        Some([72, 20_700, 512]),
    ),
    // 255 registers; RTX 3060 to 4090 have 28 to 128 multiprocessors. ggml's Vulkan backend takes
    // the largest tile that makes two workgroups for each of them. RTX 4070: 29.1 TFLOP/s, 504
    // GB/s.
    row(
        DeviceClass::Discrete,
        Some(Vendor::Nvidia),
        LARGE,
        64,
        Some([46, 29_100, 504]),
    ),
    // 128 registers of 32 bytes per hardware thread: 64 sums would spill at 16 lanes. Arc A380 to
    // A770 have 8 to 32 cores. A770: 17.2 TFLOP/s, 560 GB/s.
    row(
        DeviceClass::Discrete,
        Some(Vendor::Intel),
        MEDIUM,
        24,
        Some([32, 17_200, 560]),
    ),
    // As above; UHD 770 to Iris Xe have 2 to 6 slices of 16 execution units. UHD 770: 0.79 TFLOP/s,
    // 77 GB/s.
    row(
        DeviceClass::Integrated,
        Some(Vendor::Intel),
        MEDIUM,
        6,
        Some([2, 790, 77]),
    ),
    // More than 104 16-bit registers per thread reduce the number of threads per core (D. Johnson's
    // description of the M1's GPU); M1 to M2 Max have 7 to 38 cores. M2: 3.6 TFLOP/s, 100 GB/s.
    row(
        DeviceClass::Integrated,
        Some(Vendor::Apple),
        MEDIUM,
        16,
        Some([10, 3_600, 100]),
    ),
    // The same compute units as on cards, 2 to 16 of them. Radeon 680M: 3.4 TFLOP/s, 102 GB/s.
    row(
        DeviceClass::Integrated,
        Some(Vendor::Amd),
        LARGE,
        8,
        Some([12, 3_400, 102]),
    ),
    // Few registers: ncnn keeps 16 sums per thread everywhere. Mali and Adreno have 2 to 16 cores.
    // Adreno 730: 2.1 TFLOP/s, 51 GB/s.
    row(
        DeviceClass::Integrated,
        Some(Vendor::Mobile),
        SMALL,
        8,
        Some([8, 2_100, 51]),
    ),
    // Each workgroup runs on one CPU core, of which there are few. Winograd was not measured.
    row(DeviceClass::Software, None, LARGE, 4, None),
    // Two for each of the 40 compute units of a mid-range card, and more than an integrated GPU
    // needs. With an unknown peak, three dispatches instead of one are not worth the risk.
    row(DeviceClass::Unknown, None, LARGE, 40, None),
];

const fn row(
    class: DeviceClass,
    vendor: Option<Vendor>,
    tiles: &'static [Tile],
    units: u32,
    peak: Option<[u64; 3]>,
) -> Defaults {
    Defaults {
        class,
        vendor,
        tiles,
        // Twice as fast there according to vendor documents, but not on GeForce. On Mali and
        // Adreno, a half-precision tile needs too many registers.
        fast_halves: matches!(vendor, Some(Vendor::Amd | Vendor::Apple | Vendor::Intel)),
        units,
        peak: match peak {
            Some([units, gflops, gbytes]) => Some(Peak {
                units,
                gflops,
                gbytes,
            }),
            None => None,
        },
    }
}

impl Defaults {
    /// The defaults for a device: the row of its kind, for as many compute units as it has.
    pub(super) fn of(device: &Capabilities) -> Self {
        let row = *Self::row(device.device);
        let Some(units) = device.compute_units else {
            return row;
        };
        // Some more workgroups than cores even out what each of them takes.
        let least = if row.class == DeviceClass::Software {
            row.units
        } else {
            1
        };
        let units = units.max(least);
        Self {
            units,
            peak: row.peak.map(|peak| peak.with_units(units.into())),
            ..row
        }
    }

    /// The desired number of workgroups in a dispatch: two per compute unit.
    pub(super) const fn workgroups_wanted(&self) -> usize {
        2 * self.units as usize
    }

    /// The peak rates; `None` if Winograd's algorithm never pays off.
    pub(super) const fn peak(&self) -> Option<Peak> {
        self.peak
    }

    /// The row for a kind of device.
    fn row(device: DeviceKind) -> &'static Self {
        let fits = |row: &&Self| {
            row.class == device.class && row.vendor.is_none_or(|vendor| vendor == device.vendor)
        };
        let last = &DEFAULTS[DEFAULTS.len() - 1];
        DEFAULTS.iter().find(fits).unwrap_or(last)
    }
}
