//! Inserts zeros between pixels: `y[n,c,s·oy,s·ox] = x[n,c,oy,ox]`.

use crate::error::Error;
use crate::tensor::{Shape, Tensor};

pub(super) fn dilate(stride: [usize; 2], x: &Tensor, out: Shape) -> Result<Tensor, Error> {
    let shape = x.shape()?;
    let mut y = vec![0.0; out.len()];
    let planes = x.data().chunks_exact(shape.h * shape.w);
    for (plane, target) in planes.zip(y.chunks_exact_mut(out.h * out.w)) {
        for oy in 0..shape.h {
            for ox in 0..shape.w {
                target[oy * stride[0] * out.w + ox * stride[1]] = plane[oy * shape.w + ox];
            }
        }
    }
    Tensor::new(&out.dims(), y)
}

#[cfg(test)]
mod tests {
    use super::super::tests::run_op;
    use crate::graph::{Dilate, Graph, Op};
    use crate::tensor::Shape;

    #[test]
    fn pixels_move_apart_and_zeros_fill_the_rest() {
        let op = Op::Dilate(Dilate {
            stride: [1, 2],
            size: [3, 4],
        });
        let y = run_op(
            &mut Graph::new(),
            op,
            Shape::new(1, 1, 2, 2),
            &[1.0, 2.0, 3.0, 4.0],
        );
        let want = [1.0, 0.0, 2.0, 0.0, 3.0, 0.0, 4.0, 0.0, 0.0, 0.0, 0.0, 0.0];
        assert_eq!(y, want, "rows stay, columns move apart");
    }
}
