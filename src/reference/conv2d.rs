//! Convolution with groups, bias, residual and ReLU.
//!
//! `y[n,co,oy,ox] = bias[co] + residual[n,co,oy,ox] + Σ_{ci,ky,kx} w[co,ci,ky,kx] · x[n,ci,iy,ix]`
//! with `iy = oy·stride + ky·dilation − padding`, `ix` likewise, and `x = 0` outside the image.

use rayon::prelude::*;

use super::{clamped, round};
use crate::error::Error;
use crate::graph::Conv2d;
use crate::tensor::{Shape, Tensor};

pub(super) fn conv2d(
    conv: &Conv2d,
    x: &Tensor,
    weight: &Tensor,
    bias: Option<&Tensor>,
    residual: Option<&Tensor>,
    out: Shape,
) -> Result<Tensor, Error> {
    // Padding the image first keeps case distinctions out of the loops.
    let (shape, x) = zero_padded(x, conv)?;
    let weight_shape = weight.shape()?;
    let in_c = weight_shape.c;
    let out_c_per_group = out.c / conv.groups;
    let [kernel_h, kernel_w] = [weight_shape.h, weight_shape.w];
    let plane_len = out.h * out.w;

    let mut y = vec![0.0f32; out.len()];
    y.par_chunks_mut(plane_len)
        .enumerate()
        .for_each(|(plane, y)| {
            let (n, co) = (plane / out.c, plane % out.c);
            let first_ci = co / out_c_per_group * in_c;
            let mut sums = vec![bias.map_or(0.0, |b| f64::from(b.data()[co])); plane_len];
            for ci in 0..in_c {
                for ky in 0..kernel_h {
                    for kx in 0..kernel_w {
                        let w_ix = ((co * in_c + ci) * kernel_h + ky) * kernel_w + kx;
                        let w = f64::from(weight.data()[w_ix]);
                        for oy in 0..out.h {
                            let iy = oy * conv.stride[0] + ky * conv.dilation[0];
                            let row_ix = ((n * shape.c + first_ci + ci) * shape.h + iy) * shape.w;
                            let row = &x[row_ix + kx * conv.dilation[1]..row_ix + shape.w];
                            let sums = &mut sums[oy * out.w..][..out.w];
                            let positions = row.iter().step_by(conv.stride[1]);
                            for (sum, &x) in sums.iter_mut().zip(positions) {
                                *sum += w * f64::from(x);
                            }
                        }
                    }
                }
            }
            if let Some(residual) = residual {
                let residual = &residual.data()[plane * plane_len..][..plane_len];
                for (sum, &r) in sums.iter_mut().zip(residual) {
                    *sum += f64::from(r);
                }
            }
            for (y, &sum) in y.iter_mut().zip(&sums) {
                *y = round(if conv.relu { clamped(sum) } else { sum });
            }
        });
    Tensor::new(&out.dims(), y)
}

/// The images, surrounded by zeros.
pub(super) fn zero_padded(x: &Tensor, conv: &Conv2d) -> Result<(Shape, Vec<f32>), Error> {
    let shape = x.shape()?;
    let padding = conv.padding;
    let padded = Shape {
        h: padding.top + shape.h + padding.bottom,
        w: padding.left + shape.w + padding.right,
        ..shape
    };
    let mut data = vec![0.0; padded.len()];
    for plane in 0..shape.n * shape.c {
        for iy in 0..shape.h {
            let from = &x.data()[(plane * shape.h + iy) * shape.w..][..shape.w];
            let to_ix = (plane * padded.h + padding.top + iy) * padded.w + padding.left;
            data[to_ix..][..shape.w].copy_from_slice(from);
        }
    }
    Ok((padded, data))
}

#[cfg(test)]
mod tests {
    use super::super::tests::run_op;
    use super::*;
    use crate::graph::{Graph, Op, Padding};

    fn tensor(dims: &[usize], data: &[f32]) -> Tensor {
        Tensor::new(dims, data).unwrap()
    }

    #[test]
    fn stride_2_on_an_odd_image_with_padding() {
        let mut graph = Graph::new();
        let weight = graph.param("w", tensor(&[1, 1, 3, 3], &[1.0; 9]));
        let op = Op::Conv2d(Conv2d::new(weight).stride(2).padding(1));
        let x: Vec<f32> = (1u8..=15).map(f32::from).collect();
        // 1  2  3  4  5 / 6 7 8 9 10 / 11 .. 15: 3x3 sums around the pixels 1 3 5 11 13 15.
        let y = run_op(&mut graph, op, Shape::new(1, 1, 3, 5), &x);
        assert_eq!(y, [16.0, 33.0, 28.0, 36.0, 63.0, 48.0], "sums");
    }

    #[test]
    fn the_kernel_is_not_flipped_and_padding_is_asymmetric() {
        let mut graph = Graph::new();
        let weight = graph.param("w", tensor(&[1, 1, 2, 2], &[1.0, 10.0, 100.0, 1000.0]));
        let padding = Padding {
            top: 1,
            bottom: 0,
            left: 0,
            right: 1,
        };
        let op = Op::Conv2d(Conv2d {
            padding,
            ..Conv2d::new(weight)
        });
        // Padded: 0 0 0 / 1 2 0 / 3 4 0.
        let y = run_op(
            &mut graph,
            op,
            Shape::new(1, 1, 2, 2),
            &[1.0, 2.0, 3.0, 4.0],
        );
        assert_eq!(y, [2100.0, 200.0, 4321.0, 402.0], "windows");
    }

    #[test]
    fn stride_may_differ_between_rows_and_columns() {
        let mut graph = Graph::new();
        let weight = graph.param("w", tensor(&[1, 1, 1, 1], &[1.0]));
        let op = Op::Conv2d(Conv2d {
            stride: [1, 2],
            ..Conv2d::new(weight)
        });
        let x = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0];
        let y = run_op(&mut graph, op, Shape::new(1, 1, 2, 3), &x);
        assert_eq!(y, [1.0, 3.0, 4.0, 6.0], "every second column");
    }

    #[test]
    fn taps_may_lie_apart() {
        let mut graph = Graph::new();
        let weight = graph.param("w", tensor(&[1, 1, 2, 2], &[1.0, 10.0, 100.0, 1000.0]));
        let op = Op::Conv2d(Conv2d {
            dilation: [1, 2],
            ..Conv2d::new(weight)
        });
        let x = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0];
        let y = run_op(&mut graph, op, Shape::new(1, 1, 2, 4), &x);
        assert_eq!(y, [7531.0, 8642.0], "one column is skipped");
    }

    #[test]
    fn groups_do_not_see_each_other() {
        let mut graph = Graph::new();
        // 4 inputs and 4 outputs in 2 groups of 2.
        let weights = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0];
        let weight = graph.param("w", tensor(&[4, 2, 1, 1], &weights));
        let bias = graph.param("b", tensor(&[4], &[0.0, 100.0, 0.0, -1000.0]));
        let op = Op::Conv2d(Conv2d::new(weight).groups(2).bias(Some(bias)));
        let y = run_op(
            &mut graph,
            op,
            Shape::new(1, 4, 1, 1),
            &[1.0, 10.0, 2.0, 20.0],
        );
        assert_eq!(y, [21.0, 143.0, 130.0, -826.0], "groups");
    }

    #[test]
    fn batch_channels_residual_and_relu() {
        let mut graph = Graph::new();
        let shape = Shape::new(2, 2, 1, 2);
        let x = graph.input("x", shape).unwrap();
        let r = graph.input("r", Shape::new(2, 1, 1, 2)).unwrap();
        let weight = graph.param("w", tensor(&[1, 2, 1, 1], &[1.0, -1.0]));
        let conv = Conv2d {
            relu: true,
            ..Conv2d::new(weight)
        };
        let y = graph.add("y", Op::Conv2d(conv), &[x, r]).unwrap();
        graph.mark_output(y).unwrap();
        let x = tensor(&shape.dims(), &[1.0, 2.0, 5.0, 3.0, 10.0, 20.0, 4.0, 30.0]);
        let r = tensor(&[2, 1, 1, 2], &[5.0, 0.5, 0.0, 11.0]);
        let got = super::super::run(&graph, &[x, r]).unwrap();
        // Sums are -4 -1 6 -10; the residual comes before the ReLU.
        assert_eq!(got.get(y).unwrap().data(), [1.0, 0.0, 6.0, 1.0], "y");
    }
}
