//! Operations on vectors, that is, on 1×1 images: flatten and softmax.
//!
//! They are small, so they are done in row-major order on a single core.

use super::layout::{LANES, Layout, Line};
use crate::graph::FlattenOrder;
use crate::tensor::Shape;

/// Flattens each image into the channels of a single pixel.
pub(super) fn flatten(order: FlattenOrder, x_layout: Layout, x: &[Line], out: &mut [Line]) {
    let Shape { n: batch, c, h, w } = x_layout.shape;
    let flat = Layout::new(Shape::new(batch, c * h * w, 1, 1));
    out.fill(Line::ZERO);
    for n in 0..batch {
        for iy in 0..h {
            for ix in 0..w {
                let pixel = x_layout.pixel(n, iy, ix);
                for ci in 0..c {
                    let co = match order {
                        FlattenOrder::Chw => (ci * h + iy) * w + ix,
                        FlattenOrder::Hwc => (iy * w + ix) * c + ci,
                    };
                    let line = &mut out[co / LANES * flat.plane() + n];
                    line.0[co % LANES] = x[ci / LANES * x_layout.plane() + pixel].0[ci % LANES];
                }
            }
        }
    }
}

/// Computes `exp(x) / Σ exp(x)` over the channels of each image.
pub(super) fn softmax(layout: Layout, x: &[Line], out: &mut [Line]) {
    let mut data = layout.unpack(x);
    for values in data.chunks_exact_mut(layout.shape.c) {
        let max = values.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        for value in &mut *values {
            *value = (*value - max).exp();
        }
        let scale = 1.0 / values.iter().sum::<f32>();
        for value in values {
            *value *= scale;
        }
    }
    layout.pack(&data, out);
}
