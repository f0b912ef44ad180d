//! Mean over a window, where padding counts as zeros or not at all.

use super::{inside, round};
use crate::error::Error;
use crate::graph::Window;
use crate::tensor::{Shape, Tensor};

pub(super) fn avg_pool(
    window: &Window,
    count_padding: bool,
    x: &Tensor,
    out: Shape,
) -> Result<Tensor, Error> {
    let shape = x.shape()?;
    let mut y = Vec::with_capacity(out.len());
    for plane in x.data().chunks_exact(shape.h * shape.w) {
        for oy in 0..out.h {
            for ox in 0..out.w {
                let mut sum = 0.0;
                let mut count = 0.0;
                for ky in 0..window.kernel[0] {
                    for kx in 0..window.kernel[1] {
                        let iy = inside(oy * window.stride[0] + ky, window.padding.top, shape.h);
                        let ix = inside(ox * window.stride[1] + kx, window.padding.left, shape.w);
                        if let (Some(iy), Some(ix)) = (iy, ix) {
                            sum += f64::from(plane[iy * shape.w + ix]);
                            count += 1.0;
                        } else if count_padding {
                            count += 1.0;
                        }
                    }
                }
                // A window is larger than the padding on each side, so it contains a pixel.
                y.push(round(sum / count));
            }
        }
    }
    Tensor::new(&out.dims(), y)
}

#[cfg(test)]
mod tests {
    use super::super::tests::run_op;
    use super::*;
    use crate::graph::{AvgPool, Graph, Op};

    fn pooled(window: Window, count_padding: bool, shape: Shape, x: &[f32]) -> Vec<f32> {
        let op = Op::AvgPool(AvgPool {
            window,
            count_padding,
        });
        run_op(&mut Graph::new(), op, shape, x)
    }

    #[test]
    fn padding_counts_only_where_asked_for() {
        let window = Window::square(3, 2).padded(1);
        // 1 2 3 4 5 / 6 .. 10 / 11 .. 15: sums 16 33 28 / 36 63 48 over 4 6 4 / 4 6 4 pixels.
        let x: Vec<f32> = (1u8..=15).map(f32::from).collect();
        let shape = Shape::new(1, 1, 3, 5);
        let y = pooled(window, false, shape, &x);
        assert_eq!(y, [4.0, 5.5, 7.0, 9.0, 10.5, 12.0], "means of pixels");
        let y = pooled(window, true, shape, &[9.0; 15]);
        assert_eq!(y, [4.0, 6.0, 4.0, 4.0, 6.0, 4.0], "nine ninths");
    }

    #[test]
    fn stride_2_without_padding_ignores_the_odd_column() {
        let x = [
            1.0, 3.0, 99.0, 5.0, 7.0, 99.0, 2.0, 2.0, 99.0, 2.0, 6.0, 99.0,
        ];
        let y = pooled(Window::square(2, 2), true, Shape::new(2, 1, 2, 3), &x);
        assert_eq!(y, [4.0, 3.0], "one mean per image");
    }
}
