//! Sums of the pixels of an image and their mean, weighed by how well they answer queries.

use super::round;
use crate::error::Error;
use crate::tensor::{Shape, Tensor};

/// See the module.
pub(super) fn attention_pool(
    x: &Tensor,
    queries: &Tensor,
    positions: &Tensor,
    out: Shape,
) -> Result<Tensor, Error> {
    let shape = x.shape()?;
    let (channels, plane) = (shape.c, shape.h * shape.w);
    let mut z = Vec::with_capacity(out.len());
    for n in 0..shape.n {
        let pixel = |c: usize, p: usize| f64::from(x.data()[(n * channels + c) * plane + p]);
        let token = |j: usize, c: usize| {
            let own = match j.checked_sub(1) {
                Some(p) => pixel(c, p),
                None => (0..plane).map(|p| pixel(c, p)).sum::<f64>() / plane as f64,
            };
            own + f64::from(positions.data()[j * channels + c])
        };
        let tokens: Vec<Vec<f64>> = (0..=plane)
            .map(|j| (0..channels).map(|c| token(j, c)).collect())
            .collect();
        let of_image = &queries.data()[n * out.c..][..out.c];
        for query in of_image.chunks_exact(channels) {
            let score = |token: &Vec<f64>| -> f64 {
                token
                    .iter()
                    .zip(query)
                    .map(|(y, &q)| y * f64::from(q))
                    .sum()
            };
            let scores: Vec<f64> = tokens.iter().map(score).collect();
            let highest = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            let weights: Vec<f64> = scores.iter().map(|score| (score - highest).exp()).collect();
            let sum: f64 = weights.iter().sum();
            for c in 0..channels {
                let pairs = tokens.iter().zip(&weights);
                z.push(round(
                    pairs.map(|(token, weight)| weight * token[c]).sum::<f64>() / sum,
                ));
            }
        }
    }
    Tensor::new(&out.dims(), z)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_chooses_among_the_mean_and_the_pixels() {
        // Four channels, two pixels: the tokens are (3, 0, ..), (2, 0, ..) and (4, 1, ..).
        let x = Shape::new(1, 4, 1, 2);
        let mut data = vec![2.0, 4.0];
        data.resize(8, 0.0);
        let x = Tensor::new(&x.dims(), data).unwrap();
        let mut positions = vec![0.0; 12];
        positions[9] = 1.0;
        let positions = Tensor::new(&[3, 4], positions).unwrap();
        // One that finds all alike, one that finds the second pixel alone, one that weighs it by 2 : 1 : 1.
        let mut queries = vec![0.0; 12];
        queries[5] = 1000.0;
        queries[9] = 2.0f32.ln();
        let queries = Tensor::new(&[1, 12, 1, 1], queries).unwrap();
        let z = attention_pool(&x, &queries, &positions, Shape::new(1, 12, 1, 1)).unwrap();
        let expected = [3.0, 1.0 / 3.0, 4.0, 1.0, 13.0 / 4.0, 0.5];
        let got = [0, 1, 4, 5, 8, 9].map(|i: usize| z.data()[i]);
        for (got, expected) in got.iter().zip(expected) {
            assert!((got - expected).abs() < 1e-6, "{z:?}");
        }
    }
}
