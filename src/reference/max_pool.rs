//! Maximum over a window.
//!
//! `y[n,c,oy,ox] = max_{ky,kx} x[n,c, oy·stride+ky−padding, ox·stride+kx−padding]`

use super::inside;
use crate::error::Error;
use crate::graph::{PadValue, Window};
use crate::tensor::{Shape, Tensor};

pub(super) fn max_pool(
    window: &Window,
    pad_value: PadValue,
    x: &Tensor,
    out: Shape,
) -> Result<Tensor, Error> {
    let shape = x.shape()?;
    let outside = match pad_value {
        PadValue::NegInfinity => f32::NEG_INFINITY,
        PadValue::Zero => 0.0,
    };
    let mut y = Vec::with_capacity(out.len());
    for plane in x.data().chunks_exact(shape.h * shape.w) {
        for oy in 0..out.h {
            for ox in 0..out.w {
                let mut max = f32::NEG_INFINITY;
                for ky in 0..window.kernel[0] {
                    for kx in 0..window.kernel[1] {
                        let iy = inside(oy * window.stride[0] + ky, window.padding.top, shape.h);
                        let ix = inside(ox * window.stride[1] + kx, window.padding.left, shape.w);
                        max = max.max(match (iy, ix) {
                            (Some(iy), Some(ix)) => plane[iy * shape.w + ix],
                            _ => outside,
                        });
                    }
                }
                y.push(max);
            }
        }
    }
    Tensor::new(&out.dims(), y)
}

#[cfg(test)]
mod tests {
    use super::super::tests::run_op;
    use super::*;
    use crate::graph::{Graph, MaxPool, Op, Padding};

    fn pooled(window: Window, pad_value: PadValue, shape: Shape, x: &[f32]) -> Vec<f32> {
        let op = Op::MaxPool(MaxPool { window, pad_value });
        run_op(&mut Graph::new(), op, shape, x)
    }

    #[test]
    fn padding_wins_only_where_it_counts_as_zero() {
        let window = Window::square(3, 2).padded(1);
        // -1 -2 -3 / -4 -5 -6 / -7 -8 -9: each window holds one corner and its neighbours.
        let x: Vec<f32> = (1u8..=9).map(|v| -f32::from(v)).collect();
        let shape = Shape::new(1, 1, 3, 3);
        let y = pooled(window, PadValue::NegInfinity, shape, &x);
        assert_eq!(y, [-1.0, -2.0, -4.0, -5.0], "padding never wins");
        let y = pooled(window, PadValue::Zero, shape, &x);
        assert_eq!(y, [0.0; 4], "every window sees padding");
    }

    #[test]
    fn asymmetric_padding_and_batch_2() {
        let window = Window {
            kernel: [2, 2],
            stride: [2, 1],
            padding: Padding {
                top: 0,
                bottom: 1,
                left: 1,
                right: 0,
            },
        };
        // Image 0: 1 5 / 2 0 / 9 3. Image 1: its negative.
        let x = [
            1.0, 5.0, 2.0, 0.0, 9.0, 3.0, -1.0, -5.0, -2.0, 0.0, -9.0, -3.0,
        ];
        let shape = Shape::new(2, 1, 3, 2);
        let y = pooled(window, PadValue::NegInfinity, shape, &x);
        assert_eq!(y, [2.0, 5.0, 9.0, 9.0, -1.0, 0.0, -9.0, -3.0], "y");
        let y = pooled(window, PadValue::Zero, shape, &x);
        assert_eq!(y, [2.0, 5.0, 9.0, 9.0, 0.0, 0.0, 0.0, 0.0], "zeros");
    }
}
