//! Where the centres of a value's pixels are in the image.
//!
//! A pixel of a feature map sees a window of the image. With uneven padding, and with strides in
//! 1×1 convolutions, the centres of these windows do not divide the image evenly: those of the 4×4
//! pixels in the lesson's fourth stage are at 2, 18, 34 and 50 of 64. A map laid over the image
//! must be aligned with them (Araujo, Norris & Sim 2019, doi:10.23915/distill.00021).

use crate::error::Error;
use crate::graph::{Graph, Placement, ValueId};
use crate::tensor::Shape;

/// The centres of a value's pixels, in image coordinates where the first pixel is at 0. The
/// vertical axis comes first.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sites {
    /// Height and width of the image.
    pub image: [usize; 2],
    /// The centre of the first pixel.
    pub first: [f64; 2],
    /// The distance from one centre to the next.
    pub step: [f64; 2],
}

impl Sites {
    /// The sites of a value, in the image that is the graph's input.
    ///
    /// # Errors
    /// [`Error::ForeignId`] if the value belongs to another graph.
    pub fn of(graph: &Graph, value: ValueId) -> Result<Self, Error> {
        let Shape { h, w, .. } = graph.get(value)?.shape;
        let Some(node) = graph.nodes().iter().find(|node| node.output == value) else {
            return Ok(Self {
                image: [h, w],
                first: [0.0; 2],
                step: [1.0; 2],
            });
        };
        let Placement { input, first, step } = node.op.as_operation().placement(graph, node);
        let sites = Self::of(graph, node.inputs[input])?;
        Ok(Self {
            image: sites.image,
            first: [0, 1].map(|axis| sites.first[axis] + first[axis] * sites.step[axis]),
            step: [0, 1].map(|axis| sites.step[axis] * step[axis]),
        })
    }

    /// The sites of a map that divides the image evenly.
    pub fn even(image: [usize; 2], map: [usize; 2]) -> Self {
        let step = [0, 1].map(|axis| image[axis] as f64 / map[axis] as f64);
        Self {
            image,
            first: step.map(|step| 0.5 * step - 0.5),
            step,
        }
    }

    /// The factor and offset that turn a position in a picture of the image, with `pixels` pixels
    /// along the axis, into a position among the value's pixels.
    pub fn scale_and_offset(&self, axis: usize, pixels: usize) -> [f64; 2] {
        let image = self.image[axis] as f64 / pixels as f64;
        let offset = 0.5 * image - 0.5 - self.first[axis];
        [image / self.step[axis], offset / self.step[axis]]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pictures_of_another_size_come_to_the_same_places() {
        let sites = Sites {
            image: [64, 32],
            first: [2.0, 0.0],
            step: [16.0, 4.0],
        };
        // Twice as large: pixels 4 and 5 are the two halves of pixel 2, the first site.
        let [scale, offset] = sites.scale_and_offset(0, 128);
        assert_eq!(4.5 * scale + offset, 0.0, "first");
        assert_eq!(scale, 1.0 / 32.0, "step");
        let [scale, offset] = sites.scale_and_offset(1, 32);
        assert_eq!([scale, offset], [0.25, 0.0], "columns");
        let even = Sites::even([8, 6], [4, 2]);
        assert_eq!((even.first, even.step), ([0.5, 1.0], [2.0, 3.0]), "even");
    }
}
