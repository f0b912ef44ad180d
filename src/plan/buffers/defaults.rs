//! The algorithm for each layer on buffers by default, and the alternatives that can be measured.

use super::devices::{DISPATCH, Defaults, HALF_TILES, PRODUCT_TILES, TILES};
use super::{Buffers, OnBuffers};
use crate::kernels::conv2d::{Geometry, Tile};
use crate::kernels::winograd::{self, OutTile};
use crate::kernels::{Precision, conv2d_cooperative};
use crate::plan::candidate::{distinct, out_tiles};
use crate::plan::options::{PlanOptions, Winograd};
use crate::tensor::Shape;

impl Buffers<'_> {
    /// All algorithms that can compute a layer, the default first, each once.
    pub(super) fn algorithms(&self, geometry: &Geometry) -> Vec<OnBuffers> {
        let default = self.default_algorithm(geometry);
        if geometry.groups > 1 {
            return vec![default];
        }
        let halves = HALF_TILES.into_iter().filter(|_| self.multiplies_halves());
        let tiles: Vec<Tile> = TILES.into_iter().chain(halves).collect();
        let folded = self.folded(geometry);
        let mut others: Vec<OnBuffers> = Vec::new();
        others.extend(tiles.iter().copied().map(OnBuffers::Tiled));
        if folded.is_some() {
            others.extend(tiles.iter().copied().map(OnBuffers::Folded));
        }
        if self.may_cooperate(geometry) {
            others.push(OnBuffers::Cooperative);
        }
        for slices in SLICES {
            let split = |geometry: &Geometry| {
                let tiles = tiles.iter().copied();
                let tiles = tiles.filter(|&tile| may_split(geometry, tile, slices));
                tiles.collect::<Vec<_>>()
            };
            let separate = split(geometry).into_iter();
            others.extend(separate.map(|tile| OnBuffers::Split(tile, slices)));
            let folded = folded.as_ref().map_or_else(Vec::new, split).into_iter();
            others.extend(folded.map(|tile| OnBuffers::FoldedSplit(tile, slices)));
        }
        for out_tile in out_tiles(self.options, geometry) {
            let tiles = PRODUCT_TILES.into_iter();
            others.extend(tiles.map(|tile| OnBuffers::Winograd(out_tile, tile)));
        }
        let is_winograd = |algorithm: &OnBuffers| matches!(algorithm, OnBuffers::Winograd(..));
        if is_winograd(&default) && self.options.winograd != Winograd::Auto {
            others.retain(is_winograd);
        }
        distinct(default, others)
    }

    /// The algorithm that computes a layer by default.
    pub(super) fn default_algorithm(&self, geometry: &Geometry) -> OnBuffers {
        if geometry.groups > 1 {
            // Tiles would mostly multiply zeros: a group of ResNeXt-50 has 4 to 32 channels.
            return OnBuffers::Grouped;
        }
        let row = Defaults::of(&self.options.capabilities);
        if let Some(out_tile) = row.winograd_for(geometry, self.options) {
            return row.winograd(geometry, out_tile);
        }
        if self.may_cooperate(geometry) {
            // The caller asked for it. Matrix units are several times as fast as other arithmetic.
            return OnBuffers::Cooperative;
        }
        let tiles = if row.fast_halves && self.multiplies_halves() {
            &HALF_TILES
        } else {
            row.tiles
        };
        match self.folded(geometry) {
            Some(folded) if row.should_fold(tiles, &folded) => row.folded(tiles, &folded),
            _ => row.direct(tiles, geometry),
        }
    }

    /// The best algorithm for each order of the weights.
    pub(super) fn kinds(&self, geometry: &Geometry) -> Vec<OnBuffers> {
        if geometry.groups > 1 {
            return vec![OnBuffers::Grouped];
        }
        let row = Defaults::of(&self.options.capabilities);
        let halves = self.multiplies_halves().then_some(&HALF_TILES[..]);
        let direct = halves.into_iter().chain([row.tiles]);
        let folded = self.folded(geometry);
        let direct = direct.flat_map(|tiles| {
            let folded = folded.as_ref().map(|folded| row.folded(tiles, folded));
            std::iter::once(row.direct(tiles, geometry)).chain(folded)
        });
        let out_tiles = out_tiles(self.options, geometry);
        let winograd = out_tiles.map(|out_tile| row.winograd(geometry, out_tile));
        direct.chain(winograd).collect()
    }

    /// A convolution and its projection as one, if the device can bind the weights of both as one buffer.
    fn folded(&self, geometry: &Geometry) -> Option<Geometry> {
        let device = &self.options.capabilities;
        let fits = |tile: &Tile, folded: &Geometry| {
            let bytes = tile.weights_len(folded) * self.precision.bytes();
            bytes as u64 <= device.storage_binding_bytes
        };
        let folded = geometry.folded()?;
        let mut tiles = TILES.iter().chain(&HALF_TILES);
        tiles.all(|tile| fits(tile, &folded)).then_some(folded)
    }

    /// Whether kernels may multiply in half precision, which is only done to values stored that
    /// way.
    fn multiplies_halves(&self) -> bool {
        self.precision == Precision::F16 && self.options.capabilities.half_arithmetic
    }

    /// Whether a layer may use cooperative matrices. For the three channels of an image, they would
    /// mostly multiply zeros.
    fn may_cooperate(&self, geometry: &Geometry) -> bool {
        let device = &self.options.capabilities;
        let [min, max] = conv2d_cooperative::SUBGROUPS;
        let fits = |[smallest, largest]: [u32; 2]| min <= smallest && largest <= max;
        self.options.cooperative_matrix
            && self.multiplies_halves()
            && device.cooperative_matrix
            && device.subgroup_lanes.is_some_and(fits)
            && geometry.input.c >= 16
    }
}

/// Minimum number of products per output in a slice that is worth a workgroup of its own.
const SLICE_PRODUCTS: usize = 128;
/// Numbers of slices to choose from; adding up more of them would be bound by memory.
const SLICES: [usize; 3] = [2, 4, 8];
/// Number of workgroups that keeps any device busy.
const WORKGROUPS_OF_ANY: u64 = 256;

/// Whether the reduction of a layer is long enough, and its output small enough, to be split.
fn may_split(geometry: &Geometry, tile: Tile, slices: usize) -> bool {
    let [x, y] = tile.workgroups(geometry);
    let products = tile.k_steps(geometry) * tile.k as usize;
    x * y < WORKGROUPS_OF_ANY && products >= slices * SLICE_PRODUCTS
}

impl Defaults {
    /// The direct convolution with the best of some tiles.
    fn direct(&self, tiles: &[Tile], geometry: &Geometry) -> OnBuffers {
        let tile = self.tile_for(tiles, geometry, 1);
        match self.slices(geometry, tile) {
            1 => OnBuffers::Tiled(tile),
            slices => OnBuffers::Split(tile, slices),
        }
    }

    /// A convolution together with its projection, with the best of some tiles.
    fn folded(&self, tiles: &[Tile], geometry: &Geometry) -> OnBuffers {
        let tile = self.tile_for(tiles, geometry, 1);
        match self.slices(geometry, tile) {
            1 => OnBuffers::Folded(tile),
            slices => OnBuffers::FoldedSplit(tile, slices),
        }
    }

    /// Whether to compute a projection with the convolution that its result is added to. As one they are a dispatch
    /// less, and that result is neither written nor read. By itself a projection can run beside the layers before
    /// that convolution, which is worth more where these leave compute units idle.
    fn should_fold(&self, tiles: &[Tile], geometry: &Geometry) -> bool {
        let [x, y] = self.tile_for(tiles, geometry, 1).workgroups(geometry);
        x * y >= self.workgroups_wanted() as u64
    }

    /// Winograd's algorithm with the best tile for its products. The transforms have already lost precision, so
    /// the products are in single precision.
    fn winograd(&self, geometry: &Geometry, out_tile: OutTile) -> OnBuffers {
        let product = winograd::product(geometry, out_tile);
        let tile = self.tile_for(self.tiles, &product, out_tile.components());
        OnBuffers::Winograd(out_tile, tile)
    }

    /// The largest tile with enough workgroups for `problems` equal problems, otherwise the
    /// smallest. Where a smaller one has no more workgroups, the rest of the larger is padding.
    fn tile_for(&self, tiles: &[Tile], geometry: &Geometry, problems: usize) -> Tile {
        let workgroups = |tile: &Tile| tile.workgroups(geometry).iter().product::<u64>();
        let mut sizes = tiles.iter();
        let enough = sizes
            .find(|tile| workgroups(tile) * problems as u64 >= self.workgroups_wanted() as u64);
        let largest = enough.unwrap_or(&tiles[tiles.len() - 1]);
        let as_many = tiles
            .iter()
            .filter(|tile| workgroups(tile) == workgroups(largest));
        *as_many
            .min_by_key(|tile| tile.px * tile.co)
            .unwrap_or(largest)
    }

    /// The number of slices: as few as give enough workgroups, otherwise as many as allowed. If
    /// there are already more than half as many as wanted, the second dispatch would cost more than
    /// it saves.
    fn slices(&self, geometry: &Geometry, tile: Tile) -> usize {
        let [x, y] = tile.workgroups(geometry);
        let workgroups = usize::try_from(x * y).unwrap_or(usize::MAX);
        if workgroups.saturating_mul(2) > self.workgroups_wanted() {
            return 1;
        }
        let mut possible = SLICES.into_iter().filter(|&s| may_split(geometry, tile, s));
        let enough = possible
            .clone()
            .find(|s| workgroups * s >= self.workgroups_wanted());
        enough.or(possible.next_back()).unwrap_or(1)
    }

    /// The size of Winograd tiles; `None` if a direct convolution should be faster.
    fn winograd_for(&self, geometry: &Geometry, options: &PlanOptions) -> Option<OutTile> {
        let mut possible = out_tiles(options, geometry);
        if options.winograd != Winograd::Auto {
            return possible.next();
        }
        let peak = self.peak()?;
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
        // A gain of less than a tenth is within the error of the estimate.
        (time * 10 < direct * 9).then_some(out_tile)
    }
}

#[cfg(test)]
mod tests {
    use super::super::devices::{DEFAULTS, T32X64, T32X64_4X4, T64X64, T64X64_8X4, T128X64};
    use super::*;
    use crate::graph::Padding;
    use crate::kernels::conv2d::Residual;
    use crate::plan::capabilities::{Capabilities, DeviceClass, DeviceKind, Vendor};

    fn geometry(n: usize, c: usize, side: usize, kernel: usize) -> Geometry {
        let shape = Shape::new(n, c, side, side);
        Geometry {
            input: shape,
            output: shape,
            kernel: [kernel; 2],
            stride: [1, 1],
            padding: Padding::all(kernel / 2),
            dilation: [1; 2],
            groups: 1,
            relu: false,
            residual: Residual::None,
            projection: None,
        }
    }

    fn defaults(device: DeviceKind) -> Defaults {
        Defaults::of(&Capabilities {
            device,
            ..Capabilities::default()
        })
    }

    fn chosen(device: DeviceKind, n: usize, c: usize, side: usize) -> Tile {
        let row = defaults(device);
        row.tile_for(row.tiles, &geometry(n, c, side, 1), 1)
    }

    #[test]
    fn large_outputs_get_large_tiles_and_small_outputs_many_workgroups() {
        let px = |n, c, side| chosen(DeviceKind::default(), n, c, side).px;
        assert_eq!(px(1, 256, 56), 128, "25 × 4 tiles of 128 pixels");
        assert_eq!(px(1, 128, 56), 64, "49 × 2 tiles of 64 pixels");
        assert_eq!(px(1, 512, 7), 32, "49 pixels");
        assert_eq!(px(32, 512, 7), 128, "a batch of 32 of them");
    }

    #[test]
    fn a_tile_is_no_larger_than_its_workgroups_need() {
        let chosen = |c, side| chosen(DeviceKind::SOFTWARE, 1, c, side);
        assert_eq!(chosen(512, 14), T128X64, "196 of 256 pixels");
        assert_eq!(
            chosen(512, 7),
            T64X64,
            "49 pixels, in one tile of either size"
        );
        assert_eq!(chosen(2048, 2), T32X64, "four pixels");
    }

    #[test]
    fn the_kind_of_device_decides_how_many_workgroups_and_registers() {
        let device = |class, vendor| DeviceKind { class, vendor };
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
            let row = defaults(DeviceKind {
                class,
                ..DeviceKind::default()
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

    #[test]
    fn more_compute_units_want_more_workgroups_and_smaller_tiles() {
        let device = DeviceKind {
            class: DeviceClass::Discrete,
            vendor: Vendor::Nvidia,
        };
        let with = |compute_units| {
            let row = Defaults::of(&Capabilities {
                device,
                compute_units,
                ..Capabilities::default()
            });
            let (wide, deep) = (geometry(1, 256, 56, 1), geometry(1, 512, 7, 3));
            let tile = row.tile_for(row.tiles, &wide, 1);
            (tile, row.slices(&deep, T32X64_4X4))
        };
        assert_eq!(with(Some(14)), (T128X64, 1), "28: of 100, and nearly of 16");
        assert_eq!(with(None), (T64X64, 8), "as with 64 of them");
        assert_eq!(with(Some(64)), with(None), "64 of them");
        assert_eq!(with(Some(170)).0, T32X64, "340 of 392");
    }

    fn wanted(winograd: Winograd) -> PlanOptions {
        PlanOptions::new(Capabilities::default()).winograd(winograd)
    }

    #[test]
    fn winograd_pays_where_arithmetic_is_dear() {
        let chosen = |class, vendor, n, c, side| {
            let row = defaults(DeviceKind { class, vendor });
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
        let row = defaults(DeviceKind::default());
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
        for row in DEFAULTS {
            assert!(!row.tiles.is_empty(), "a row has tiles");
            for tile in row.tiles {
                assert!(TILES.contains(tile), "{tile}");
            }
        }
    }

    #[test]
    fn halves_are_multiplied_where_that_is_fast_and_all_that_is_stored() {
        let chosen = |vendor, precision, half_arithmetic| {
            let device = DeviceKind {
                class: DeviceClass::Discrete,
                vendor,
            };
            let capabilities = Capabilities {
                device,
                half_arithmetic,
                ..Capabilities::default()
            };
            let options = PlanOptions::new(capabilities).precision(precision);
            let back_end = Buffers::new(&options, precision);
            match back_end.default_algorithm(&geometry(8, 64, 56, 1)) {
                OnBuffers::Tiled(tile) => tile.arithmetic,
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
