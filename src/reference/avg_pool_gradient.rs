//! The gradient of an unpadded average pool: each pixel gets its share of every window around it.

use super::round;
use crate::error::Error;
use crate::graph::Window;
use crate::tensor::{Shape, Tensor};

pub(super) fn avg_pool_gradient(window: &Window, x: &Tensor, out: Shape) -> Result<Tensor, Error> {
    let shape = x.shape()?;
    let [kernel_h, kernel_w] = window.kernel;
    let mut y = Vec::with_capacity(out.len());
    for plane in x.data().chunks_exact(shape.h * shape.w) {
        let mut sums = vec![0.0; out.h * out.w];
        for oy in 0..shape.h {
            for ox in 0..shape.w {
                let share = f64::from(plane[oy * shape.w + ox]) / (kernel_h * kernel_w) as f64;
                for ky in 0..kernel_h {
                    for kx in 0..kernel_w {
                        let iy = oy * window.stride[0] + ky;
                        let ix = ox * window.stride[1] + kx;
                        sums[iy * out.w + ix] += share;
                    }
                }
            }
        }
        y.extend(sums.into_iter().map(round));
    }
    Tensor::new(&out.dims(), y)
}

#[cfg(test)]
mod tests {
    use super::super::tests::run_op;
    use crate::graph::{AvgPoolGradient, Graph, Op, Window};
    use crate::tensor::Shape;

    fn spread(stride: usize, columns: usize) -> Vec<f32> {
        let op = Op::AvgPoolGradient(AvgPoolGradient {
            window: Window {
                kernel: [1, 2],
                ..Window::square(1, stride)
            },
            size: [1, columns],
        });
        run_op(&mut Graph::new(), op, Shape::new(1, 1, 1, 2), &[2.0, 6.0])
    }

    #[test]
    fn windows_share_what_they_have_in_common_and_leave_out_the_rest() {
        assert_eq!(spread(1, 3), [1.0, 4.0, 3.0], "halves, and their sum");
        assert_eq!(
            spread(2, 5),
            [1.0, 1.0, 3.0, 3.0, 0.0],
            "the last is in none"
        );
    }
}
