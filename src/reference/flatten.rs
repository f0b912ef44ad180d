//! Flattens each image into the channels of a single pixel.

use crate::error::Error;
use crate::graph::FlattenOrder;
use crate::tensor::{Shape, Tensor};

pub(super) fn flatten(order: FlattenOrder, x: &Tensor, out: Shape) -> Result<Tensor, Error> {
    let shape = x.shape()?;
    let at = |n, c, iy, ix| x.data()[((n * shape.c + c) * shape.h + iy) * shape.w + ix];
    let mut y = Vec::with_capacity(out.len());
    for n in 0..shape.n {
        match order {
            FlattenOrder::Chw => {
                for c in 0..shape.c {
                    for iy in 0..shape.h {
                        y.extend((0..shape.w).map(|ix| at(n, c, iy, ix)));
                    }
                }
            }
            FlattenOrder::Hwc => {
                for iy in 0..shape.h {
                    for ix in 0..shape.w {
                        y.extend((0..shape.c).map(|c| at(n, c, iy, ix)));
                    }
                }
            }
        }
    }
    Tensor::new(&out.dims(), y)
}

#[cfg(test)]
mod tests {
    use super::super::tests::run_op;
    use super::*;
    use crate::graph::{Flatten, Graph, Op};

    #[test]
    fn the_order_is_that_of_the_framework() {
        // Two images of two channels, each 1 2 3 / 4 5 6, plus 10 for the second channel and 100
        // for the second image.
        let mut x = Vec::new();
        for plane in [0u8, 10, 100, 110] {
            x.extend((1u8..=6).map(|v| f32::from(v + plane)));
        }
        let flat = |order| {
            let op = Op::Flatten(Flatten { order });
            run_op(&mut Graph::new(), op, Shape::new(2, 2, 2, 3), &x)
        };
        assert_eq!(flat(FlattenOrder::Chw), x, "NCHW is already in this order");
        let hwc = flat(FlattenOrder::Hwc);
        assert_eq!(hwc[..6], [1.0, 11.0, 2.0, 12.0, 3.0, 13.0], "first row");
        assert_eq!(hwc[12..16], [101.0, 111.0, 102.0, 112.0], "second image");
    }
}
