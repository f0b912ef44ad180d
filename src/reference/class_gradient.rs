//! The gradient of one logit with respect to the classifier's input: the row of weights of a class,
//! by default of the first class with the largest logit.

use crate::error::Error;
use crate::tensor::{Shape, Tensor};

/// A negative class stands for the largest logit.
pub(super) fn class_gradient(
    logits: &Tensor,
    weight: &Tensor,
    class: &Tensor,
    out: Shape,
) -> Result<Tensor, Error> {
    let classes = weight.dims()[0];
    let row = out.len() / out.n;
    let asked = (0..classes).find(|&k| class.data()[0] < (k + 1) as f32);
    let mut y = Vec::with_capacity(out.len());
    for logits in logits.data().chunks_exact(classes) {
        let largest =
            (1..classes).fold(0, |best, k| if logits[k] > logits[best] { k } else { best });
        let k = if class.data()[0] < 0.0 {
            largest
        } else {
            asked.unwrap_or(classes - 1)
        };
        y.extend_from_slice(&weight.data()[k * row..][..row]);
    }
    Tensor::new(&out.dims(), y)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_row_is_that_of_the_class_or_of_the_largest_logit() {
        let logits = Tensor::new(&[2, 3, 1, 1], vec![0.0, 2.0, 2.0, 5.0, -1.0, 4.0]).unwrap();
        let weight = Tensor::from_fn(&[3, 2, 1, 1], |i| f32::from(u8::try_from(i).unwrap()));
        let rows = |class: f32| {
            let class = Tensor::new(&[1], vec![class]).unwrap();
            let y = class_gradient(&logits, &weight, &class, Shape::new(2, 2, 1, 1)).unwrap();
            y.data().to_vec()
        };
        assert_eq!(rows(-1.0), [2.0, 3.0, 0.0, 1.0], "largest, first of equals");
        assert_eq!(rows(2.0), [4.0, 5.0, 4.0, 5.0], "asked for");
        assert_eq!(rows(9.0), [4.0, 5.0, 4.0, 5.0], "past the last");
    }
}
