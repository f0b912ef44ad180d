//! Where in the image the pixels of a value have their centre.
//!
//! A pixel of a feature map sees a window of the image. With uneven padding, and with strides in
//! convolutions of 1×1, the centres of these windows do not divide the image evenly: those of the 4×4
//! pixels of the lesson's fourth stage lie at 2, 18, 34 and 50 of 64. A map that is laid over the image
//! must be laid there (Araujo, Norris & Sim 2019, doi:10.23915/distill.00021).

use crate::graph::{Graph, Op, Padding, ValueId};

/// The centres of a value's pixels, in pixels of the image, whose first one is at 0. Rows come first.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sites {
    /// Rows and columns of the image.
    pub image: [usize; 2],
    /// The centre of the first pixel.
    pub first: [f64; 2],
    /// How far it is from one to the next.
    pub step: [f64; 2],
}

impl Sites {
    /// Those of a value of a graph, in the image that is the graph's input.
    ///
    /// # Panics
    /// When the value is of another, larger graph.
    pub fn of(graph: &Graph, value: ValueId) -> Self {
        let Some(node) = graph.nodes().iter().find(|node| node.output == value) else {
            let shape = graph.shape(value);
            return Self {
                image: [shape.h, shape.w],
                first: [0.0; 2],
                step: [1.0; 2],
            };
        };
        let x = match node.op {
            // What the gradient is laid over.
            Op::ReluGradient | Op::ChannelDot { .. } => node.inputs[1],
            _ => node.inputs[0],
        };
        let sites = Self::of(graph, x);
        match node.op {
            Op::Conv2d(conv) => match *graph.tensor(conv.weight).dims() {
                [_, _, h, w] => sites.of_window([h, w], conv.stride, conv.padding),
                _ => sites,
            },
            Op::MaxPool { window, .. } | Op::AvgPool { window, .. } => {
                sites.of_window(window.kernel, window.stride, window.padding)
            }
            Op::GlobalAvgPool => {
                let shape = graph.shape(x);
                sites.of_window([shape.h, shape.w], [1, 1], Padding::default())
            }
            _ => sites,
        }
    }

    /// Those of a map that divides the image evenly.
    pub fn even(image: [usize; 2], map: [usize; 2]) -> Self {
        let step = [0, 1].map(|axis| image[axis] as f64 / map[axis] as f64);
        Self {
            image,
            first: step.map(|step| 0.5 * step - 0.5),
            step,
        }
    }

    fn of_window(self, kernel: [usize; 2], stride: [usize; 2], padding: Padding) -> Self {
        let before = [padding.top, padding.left];
        let center = |axis: usize| (kernel[axis] as f64 - 1.0) / 2.0 - before[axis] as f64;
        Self {
            image: self.image,
            first: [0, 1].map(|axis| self.first[axis] + center(axis) * self.step[axis]),
            step: [0, 1].map(|axis| self.step[axis] * stride[axis] as f64),
        }
    }

    /// How to come from the pixels of a picture of the image, `pixels` along an axis, to places among the
    /// value's pixels: a factor, and what is added to it.
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
        // Twice as large: pixel 4 and 5 are the two halves of pixel 2, the first site.
        let [scale, offset] = sites.scale_and_offset(0, 128);
        assert_eq!(4.5 * scale + offset, 0.0, "first");
        assert_eq!(scale, 1.0 / 32.0, "step");
        let [scale, offset] = sites.scale_and_offset(1, 32);
        assert_eq!([scale, offset], [0.25, 0.0], "columns");
        let even = Sites::even([8, 6], [4, 2]);
        assert_eq!((even.first, even.step), ([0.5, 1.0], [2.0, 3.0]), "even");
    }
}
