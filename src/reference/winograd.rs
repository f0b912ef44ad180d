//! What Winograd's algorithm stores between its dispatches: transformed images and weights, and their
//! products. They can be larger than what goes in and comes out, which matters where halves store them.

use rayon::prelude::*;

use super::conv2d::zero_padded;
use crate::error::Error;
use crate::graph::Conv2d;
use crate::kernels::winograd::{OutTile, component, points};
use crate::tensor::Tensor;

const INPUT_2: [[f32; 4]; 4] = [
    [1.0, 0.0, -1.0, 0.0],
    [0.0, 1.0, 1.0, 0.0],
    [0.0, -1.0, 1.0, 0.0],
    [0.0, 1.0, 0.0, -1.0],
];
const INPUT_4: [[f32; 6]; 6] = [
    [4.0, 0.0, -5.0, 0.0, 1.0, 0.0],
    [0.0, -4.0, -4.0, 1.0, 1.0, 0.0],
    [0.0, 4.0, -4.0, -1.0, 1.0, 0.0],
    [0.0, -2.0, -1.0, 2.0, 1.0, 0.0],
    [0.0, 2.0, -1.0, -2.0, 1.0, 0.0],
    [0.0, 4.0, 0.0, -5.0, 0.0, 1.0],
];

/// The most by which the transforms of the image and of the weights enlarge a magnitude.
const fn growth(out_tile: OutTile) -> [f32; 2] {
    match out_tile {
        OutTile::Two => [4.0, 2.25],
        OutTile::Four => [100.0, 1.0],
    }
}

/// A magnitude that nothing stored exceeds, for images whose largest magnitude is known. It is cheap, and
/// often far from what is reached.
pub fn winograd_bound(weight: &Tensor, largest: f32, out_tile: OutTile) -> f32 {
    let [images, weights] = growth(out_tile);
    let taps = weight.data();
    let largest_tap = |taps: &[f32]| taps.iter().fold(0.0f32, |a, b| a.max(b.abs())) * weights;
    // Of the products of an output channel, one for each input channel is added up.
    let per_output = taps.len() / weight.dims()[0].max(1);
    let sums = taps.chunks(per_output.max(1));
    let sums = sums.map(|taps| taps.chunks(9).map(largest_tap).sum::<f32>());
    let sum = sums.fold(largest_tap(taps), f32::max);
    largest * images * sum.max(1.0)
}

/// The largest magnitude of what is stored, for these images.
///
/// # Errors
/// [`Error::Shape`](crate::Error) if the images are none.
pub fn winograd_largest(
    conv: &Conv2d,
    weight: &Tensor,
    x: &Tensor,
    out_tile: OutTile,
) -> Result<f32, Error> {
    let (padded, data) = zero_padded(x, conv)?;
    let (side, step) = (out_tile.side() + 2, out_tile.side());
    let tiles = |length: usize| (length - 2).div_ceil(step);
    let [rows, columns] = [padded.h, padded.w].map(tiles);
    let row = |u: usize| match out_tile {
        OutTile::Two => &INPUT_2[u][..],
        OutTile::Four => &INPUT_4[u][..],
    };
    // Beyond the lower and the right edge are zeros.
    let pixel = |plane: usize, y: usize, x: usize| {
        let inside = y < padded.h && x < padded.w;
        if inside {
            data[(plane * padded.h + y) * padded.w + x]
        } else {
            0.0
        }
    };
    let transformed = |plane: usize, tile: usize, [u, v]: [usize; 2]| -> f32 {
        let (top, left) = (tile / columns * step, tile % columns * step);
        let line = |i: usize| -> f32 {
            (0..side)
                .map(|j| row(v)[j] * pixel(plane, top + i, left + j))
                .sum()
        };
        (0..side).map(|i| row(u)[i] * line(i)).sum()
    };
    let taps = weight.scalars();
    let points: Vec<_> = points(out_tile).collect();
    let largest = points.par_iter().map(|&point| {
        let matrix = component(&taps, out_tile, point);
        let mut largest = matrix.iter().fold(0.0f32, |a, b| a.max(b.abs()));
        for image in 0..padded.n {
            for tile in 0..rows * columns {
                let planes = image * padded.c..(image + 1) * padded.c;
                let column: Vec<f32> = planes.map(|p| transformed(p, tile, point)).collect();
                let products = matrix.chunks(column.len().max(1));
                let products = products
                    .map(|row| -> f32 { row.iter().zip(&column).map(|(w, x)| w * x).sum() });
                largest = column
                    .iter()
                    .copied()
                    .chain(products)
                    .fold(largest, |a, b| a.max(b.abs()));
            }
        }
        largest
    });
    Ok(largest.reduce(|| 0.0, f32::max))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::internals::noise::Noise;
    use crate::kernels::winograd::OutTile;

    #[test]
    fn the_bound_holds_and_the_measure_is_reached() {
        for (out_tile, rows) in [
            (OutTile::Two, &INPUT_2.map(|row| row.to_vec())[..]),
            (OutTile::Four, &INPUT_4.map(|row| row.to_vec())[..]),
        ] {
            let mut graph = crate::graph::Graph::new();
            let weight = Noise::new(3).tensor(&[5, 3, 3, 3]);
            let id = graph.param("w", weight.clone());
            let conv = Conv2d::new(id).padding(1);
            let x = Noise::new(4).tensor(&[2, 3, 9, 7]);
            let largest = winograd_largest(&conv, &weight, &x, out_tile).unwrap();
            let of_x = x.data().iter().fold(0.0f32, |a, b| a.max(b.abs()));
            assert!(
                largest <= winograd_bound(&weight, of_x, out_tile),
                "{out_tile:?}"
            );
            assert!(largest > of_x, "transforms enlarge: {largest} of {of_x}");

            // An image with the signs of a row of the transform reaches its growth.
            let signs = |row: &[f32]| row.iter().map(|x| x.signum()).collect::<Vec<f32>>();
            let sum = |row: &[f32]| row.iter().map(|x| x.abs()).sum::<f32>();
            let row = rows
                .iter()
                .max_by(|a, b| sum(a).total_cmp(&sum(b)))
                .unwrap();
            let (side, signs) = (row.len(), signs(row));
            let x = Tensor::from_fn(&[1, 1, side, side], |i| signs[i / side] * signs[i % side]);
            let weight = Tensor::from_fn(&[1, 1, 3, 3], |_| 0.0);
            let conv = Conv2d::new(graph.param("zero", weight.clone()));
            let largest = winograd_largest(&conv, &weight, &x, out_tile).unwrap();
            assert_eq!(largest, growth(out_tile)[0], "{out_tile:?}");
        }
    }

    #[test]
    fn products_are_measured_although_they_cancel() {
        // Each output is a difference of neighbours that are equal; their products are not small.
        let mut graph = crate::graph::Graph::new();
        let weight = Tensor::from_fn(&[1, 1, 3, 3], |i| [1.0, 0.0, -1.0][i % 3]);
        let conv = Conv2d::new(graph.param("w", weight.clone()));
        let x = Tensor::from_fn(&[1, 1, 4, 4], |i| [0.0, 0.0, 0.0, 100.0][i % 4]);
        let largest = winograd_largest(&conv, &weight, &x, OutTile::Two).unwrap();
        assert!(largest > 200.0, "{largest}");
    }
}
