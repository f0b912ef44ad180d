//! Multiplies each channel by the sigmoid of its gate.

use super::round;
use crate::error::Error;
use crate::tensor::{Shape, Tensor};

/// See the module.
pub(super) fn gate(x: &Tensor, gate: &Tensor, out: Shape) -> Result<Tensor, Error> {
    let plane = out.h * out.w;
    let mut y = Vec::with_capacity(out.len());
    for n in 0..out.n {
        for c in 0..out.c {
            let channel = n * out.c + c;
            let open = 1.0 / (1.0 + (-f64::from(gate.data()[channel])).exp());
            for pixel in 0..plane {
                y.push(round(f64::from(x.data()[channel * plane + pixel]) * open));
            }
        }
    }
    Tensor::new(&out.dims(), y)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_image_and_channel_has_its_own_gate() {
        let shape = Shape::new(2, 2, 1, 2);
        let x = Tensor::new(&shape.dims(), vec![2.0, 4.0, 2.0, 4.0, -2.0, 4.0, 2.0, 4.0]).unwrap();
        // σ(0) = 1/2, σ(ln 3) = 3/4; for large numbers, the gate is closed or open.
        let gates = vec![0.0, 3.0f32.ln(), -1000.0, 1000.0];
        let gates = Tensor::new(&[2, 2, 1, 1], gates).unwrap();
        let y = gate(&x, &gates, shape).unwrap();
        assert_eq!(y.data(), [1.0, 2.0, 1.5, 3.0, 0.0, 0.0, 2.0, 4.0]);
    }
}
