//! Winograd convolution F(m², 3²) (Lavin & Gray 2015, arXiv:1509.09308): shared by its three
//! dispatches. Tiles of the image are transformed, multiplied component by component by
//! [`conv2d_tiled`] or [`conv2d_texture`], and transformed back.

use super::conv2d::{self, Geometry, Residual};
use super::packing::{PIECE, Piece, Source, parts};
use super::textures::conv2d_texture;
use super::{Launch, Packing, Storage, conv2d_tiled};
use crate::graph::Padding;
use crate::tensor::{Shape, Tensor};

/// The size of a tile of outputs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum OutTile {
    /// 2×2 outputs: 2.25 times fewer multiplications.
    Two,
    /// 4×4 outputs: 4 times fewer, and less exact.
    Four,
}

/// One row per point, with the weights of the three taps in a row of the kernel.
const KERNEL_2: [[f64; 3]; 4] = [
    [1.0, 0.0, 0.0],
    [0.5, 0.5, 0.5],
    [0.5, -0.5, 0.5],
    [0.0, 0.0, 1.0],
];
const KERNEL_4: [[f64; 3]; 6] = [
    [1.0 / 4.0, 0.0, 0.0],
    [-1.0 / 6.0, -1.0 / 6.0, -1.0 / 6.0],
    [-1.0 / 6.0, 1.0 / 6.0, -1.0 / 6.0],
    [1.0 / 24.0, 1.0 / 12.0, 1.0 / 6.0],
    [1.0 / 24.0, -1.0 / 12.0, 1.0 / 6.0],
    [0.0, 0.0, 1.0],
];

impl OutTile {
    /// Side of the tile in output pixels.
    pub const fn side(self) -> usize {
        match self {
            Self::Two => 2,
            Self::Four => 4,
        }
    }

    /// The value of `OUT_TILE` in the shaders.
    pub(super) const fn constant(self) -> (&'static str, u32) {
        match self {
            Self::Two => ("OUT_TILE", 2),
            Self::Four => ("OUT_TILE", 4),
        }
    }

    /// The number of components: the area of a tile of inputs.
    pub const fn components(self) -> usize {
        (self.side() + 2) * (self.side() + 2)
    }

    /// The number of tiles vertically and horizontally in an image.
    pub fn tiles(self, output: Shape) -> [usize; 2] {
        [output.h, output.w].map(|side| side.div_ceil(self.side()))
    }

    /// The shape of one component: one pixel per tile of the batch.
    pub fn component(self, output: Shape, channels: usize) -> Shape {
        let [h, w] = self.tiles(output);
        Shape::new(output.n, channels, h, w)
    }

    fn kernel_rows(self) -> &'static [[f64; 3]] {
        match self {
            Self::Two => &KERNEL_2,
            Self::Four => &KERNEL_4,
        }
    }
}

/// Whether a convolution can be computed by Winograd's algorithm.
pub fn applies(geometry: &Geometry) -> bool {
    let steps = [geometry.stride, geometry.dilation];
    geometry.kernel == [3, 3] && steps == [[1, 1]; 2] && geometry.groups == 1
}

/// The multiplication, as 1×1 convolutions of all components.
pub fn product(geometry: &Geometry, out_tile: OutTile) -> Geometry {
    Geometry {
        input: out_tile.component(geometry.output, geometry.input.c),
        output: out_tile.component(geometry.output, geometry.output.c),
        kernel: [1, 1],
        padding: Padding::all(0),
        relu: false,
        residual: Residual::None,
        projection: None,
        ..*geometry
    }
}

/// The launch of the multiplication on buffers, with one layer of workgroups along z per component.
pub fn tiled_launch(geometry: &Geometry, out_tile: OutTile, tile: conv2d::Tile) -> Launch {
    let components = conv2d_tiled::Part::Problems(out_tile.components());
    conv2d_tiled::launch(&product(geometry, out_tile), tile, components)
}

/// The launch of the multiplication on textures, with one layer of workgroups along z per
/// component.
pub fn product_launch(
    geometry: &Geometry,
    out_tile: OutTile,
    tile: conv2d_texture::Tile,
) -> Launch {
    let mut launch = conv2d_texture::launch(&product(geometry, out_tile), tile);
    launch.workgroups[2] = out_tile.components() as u64;
    launch
}

/// The weights of the multiplication on textures, with the biases.
pub(crate) fn texels_packing(
    weight: &Tensor,
    bias: Option<&Tensor>,
    tile: conv2d_texture::Tile,
    out_tile: OutTile,
) -> Packing {
    let (bias, tile_co) = (bias.cloned(), tile.co as usize);
    let [out_c, in_c, _] = conv2d::out_in_taps(weight);
    let len = conv2d_texture::packed_len([out_c, in_c, 1], tile_co);
    let order = format!("texels of {tile_co} outputs of {out_tile:?}");
    packing(
        Source::new(order, std::iter::once(weight).chain(bias.as_ref())),
        Storage::Texture,
        len,
        out_tile,
        tile_co,
        move |first, point, matrix| {
            // The component of point 1 in both directions has the biases, since its polynomial is constant: all
            // outputs of a tile get them.
            let bias = bias.as_ref().filter(|_| point == [1, 1]);
            let bias = bias.map(|bias| &bias.data()[first..]);
            conv2d_texture::pack(matrix, [in_c, 1], bias, tile_co)
        },
    )
}

/// The weights of the multiplication on buffers: one matrix per component, in the layout of
/// [`conv2d_tiled`].
pub(crate) fn tiles_packing(weight: &Tensor, tile: conv2d::Tile, out_tile: OutTile) -> Packing {
    let [out_c, in_c, _] = conv2d::out_in_taps(weight);
    let len = conv2d::tiles_len([out_c, in_c, 1], tile);
    let block = tile.co as usize;
    let order = format!("tiles of {block} outputs of {out_tile:?}");
    packing(
        Source::new(order, [weight]),
        Storage::Buffer,
        len,
        out_tile,
        block,
        move |_, _, matrix| conv2d::pack_tiles(matrix, [in_c, 1], tile),
    )
}

/// 3×3 OIHW weights, the first tensor, as a matrix for each component, of `len` scalars in blocks of `block`
/// outputs: `pack` makes the blocks of a component from an output on, given its points and the matrix of these
/// outputs.
fn packing(
    source: Source,
    storage: Storage,
    len: usize,
    out_tile: OutTile,
    block: usize,
    pack: impl Fn(usize, [usize; 2], &[f32]) -> Vec<f32> + Clone + Send + Sync + 'static,
) -> Packing {
    let weight = source.tensors()[0].clone();
    let [out_c, in_c, taps] = conv2d::out_in_taps(&weight);
    let block_len = len / out_c.div_ceil(block).max(1);
    // The scalars of some outputs may have to be computed: that is done once, for all components.
    let at_once = (PIECE / (block * in_c * taps).max(1)).max(1) * block;
    let held = at_once.min(out_c) * in_c * taps + 2 * len.min(at_once / block * block_len);
    let scalars = out_tile.components() * len;
    Packing::in_pieces(source, storage, scalars, held, move || {
        let (weight, pack) = (weight.clone(), pack.clone());
        Box::new(parts(out_c, at_once).flat_map(move |part| {
            let taps = weight.slices(part.clone()).into_owned();
            let pack = pack.clone();
            points(out_tile)
                .enumerate()
                .map(move |(index, point)| Piece {
                    at: index * len + part.start / block * block_len,
                    scalars: pack(part.start, point, &component(&taps, out_tile, point)),
                })
        }))
    })
}

/// The points of each component along rows and columns.
pub(crate) fn points(out_tile: OutTile) -> impl Iterator<Item = [usize; 2]> {
    let count = out_tile.kernel_rows().len();
    (0..count).flat_map(move |u| (0..count).map(move |v| [u, v]))
}

/// One component of kernels of 3×3 taps, one after another.
pub(crate) fn component(taps: &[f32], out_tile: OutTile, [u, v]: [usize; 2]) -> Vec<f32> {
    let rows = out_tile.kernel_rows();
    let kernels = taps.chunks_exact(9);
    kernels
        .map(|taps| transformed(taps, &rows[u], &rows[v]))
        .collect()
}

/// Σ_{i,j} row[i] · taps[i,j] · column[j].
#[expect(
    clippy::cast_possible_truncation,
    reason = "the one rounding to the precision of the kernel"
)]
fn transformed(taps: &[f32], row: &[f64; 3], column: &[f64; 3]) -> f32 {
    let rows = taps.chunks_exact(3).zip(row);
    let sum: f64 = rows
        .map(|(taps, r)| {
            let taps = taps.iter().zip(column);
            r * taps.map(|(&w, c)| f64::from(w) * c).sum::<f64>()
        })
        .sum();
    sum as f32
}

#[cfg(test)]
mod tests {
    use super::*;

    const TILE: conv2d_texture::Tile = conv2d_texture::Tile {
        co: 8,
        px_groups: 1,
        lanes: 8,
        fused: false,
    };

    #[test]
    fn pieces_are_the_matrices_of_all_components() {
        // Three pieces for each component, the last one of 19 outputs.
        let (out_c, in_c) = (147, 450);
        let weight = Tensor::from_fn(&[out_c, in_c, 3, 3], |i| (i % 1013) as f32 - 500.0);
        let bias = Tensor::from_fn(&[out_c], |i| i as f32);
        for out_tile in [OutTile::Two, OutTile::Four] {
            let packing = texels_packing(&weight, Some(&bias), TILE, out_tile);
            assert!(
                packing.pieces().count() > 2 * out_tile.components(),
                "pieces"
            );
            let want = points(out_tile).flat_map(|point| {
                let bias = (point == [1, 1]).then_some(bias.data());
                let matrix = component(weight.data(), out_tile, point);
                conv2d_texture::pack(&matrix, [in_c, 1], bias, TILE.co as usize)
            });
            assert!(
                packing.scalars() == want.collect::<Vec<_>>(),
                "{out_tile:?}"
            );
        }
    }

    #[test]
    fn a_kernel_that_copies_the_pixel_in_the_middle_is_what_its_points_say() {
        // The polynomial of the row [0, 1, 0] is x: its value at the points, over the norms of the
        // interpolation, and 0 at infinity.
        let weight = Tensor::from_fn(&[1, 1, 3, 3], |i| if i == 4 { 1.0 } else { 0.0 });
        let bias = Tensor::from_fn(&[1], |_| 7.0);
        for (out_tile, row) in [
            (OutTile::Two, &[0.0, 0.5, -0.5, 0.0][..]),
            (
                OutTile::Four,
                &[0.0, -1.0 / 6.0, 1.0 / 6.0, 1.0 / 12.0, -1.0 / 12.0, 0.0],
            ),
        ] {
            let packed = texels_packing(&weight, Some(&bias), TILE, out_tile).scalars();
            let component = packed.len() / out_tile.components();
            let side = row.len();
            for (index, matrix) in packed.chunks_exact(component).enumerate() {
                let (u, v) = (index / side, index % side);
                let want: f64 = row[u] * row[v];
                // Row 0 holds the biases, row 1 the only group of channels.
                assert!((f64::from(matrix[32]) - want).abs() < 1e-7, "{u}, {v}");
                let bias = if [u, v] == [1, 1] { 7.0 } else { 0.0 };
                assert_eq!(matrix[0], bias, "bias of {u}, {v}");
            }
        }
    }
}
