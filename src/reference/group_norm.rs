//! Normalisation by the statistics of each group of channels in each image.
//!
//! `y[n,c,..] = gamma[c] · (x[n,c,..] − mean) / √(variance + epsilon) + beta[c]`, with mean and
//! variance over all `x[n,c',..]` where `c'` is in the group of `c`.

use rayon::prelude::*;

use super::round;
use crate::error::Error;
use crate::graph::GroupNorm;
use crate::tensor::{Shape, Tensor};

/// The parameters are gamma and beta.
pub(super) fn group_norm(
    norm: &GroupNorm,
    x: &Tensor,
    [gamma, beta]: [&Tensor; 2],
    out: Shape,
) -> Result<Tensor, Error> {
    let plane = out.h * out.w;
    let size = out.c / norm.groups;
    let mut y = vec![0.0f32; out.len()];
    let groups = y.par_chunks_mut(size * plane).enumerate();
    groups.for_each(|(group, y)| {
        let x = &x.data()[group * size * plane..][..size * plane];
        let count = x.len() as f64;
        let mean = x.iter().map(|&x| f64::from(x)).sum::<f64>() / count;
        let squares = x.iter().map(|&x| (f64::from(x) - mean).powi(2));
        let deviation = (squares.sum::<f64>() / count + f64::from(norm.epsilon)).sqrt();
        let first_c = group % norm.groups * size;
        for (i, (y, &x)) in y.iter_mut().zip(x).enumerate() {
            let [gamma, beta] = [gamma, beta].map(|p| f64::from(p.data()[first_c + i / plane]));
            *y = round((f64::from(x) - mean) / deviation * gamma + beta);
        }
    });
    Tensor::new(&out.dims(), y)
}

#[cfg(test)]
mod tests {
    use super::super::tests::run_op;
    use super::*;
    use crate::graph::{Graph, Op};

    #[test]
    fn each_image_and_group_has_its_own_statistics() {
        let mut graph = Graph::new();
        let mut param =
            |data: [f32; 4]| graph.param("p", Tensor::new(&[4], data.to_vec()).unwrap());
        let norm = GroupNorm {
            gamma: param([1.0, 2.0, 3.0, 1.0]),
            beta: param([0.0, 1.0, 0.0, -1.0]),
            groups: 2,
            epsilon: 0.0,
        };
        // Image 0: group 0 has mean 2 and deviation 2, group 1 mean 0 and deviation 1.
        // Image 1: means 10 and 5, deviations 10 and 5.
        let x = [
            0.0, 4.0, 4.0, 0.0, 1.0, -1.0, -1.0, 1.0, //
            0.0, 20.0, 20.0, 0.0, 10.0, 0.0, 0.0, 10.0,
        ];
        let y = run_op(&mut graph, Op::GroupNorm(norm), Shape::new(2, 4, 1, 2), &x);
        let image = [-1.0, 1.0, 3.0, -1.0, 3.0, -3.0, -2.0, 0.0];
        assert_eq!(y, [image, image].concat(), "alike after normalising");
    }
}
