//! The memory layout of activations on the CPU: blocks of 16 channels, one cache line per pixel.
//!
//! ```text
//! line index (n, c, y, x) = (c / 16) · plane + (n·H + y)·W + x        lane = c % 16
//! ```
//!
//! This is the GPU's channel-packed layout with 16 lanes instead of 4, whatever the vector width of
//! the machine, and with one line of zeros at the end of each plane: padding is read from there, so
//! that loops need not test whether a pixel is inside the image. The odd plane size also keeps
//! planes of 56×56 pixels from competing for the same cache sets. Lanes past the last channel are
//! zero.

use bytemuck::{Pod, Zeroable};

use crate::tensor::Shape;

/// Channels in one line.
pub(super) const LANES: usize = 16;

/// Sixteen channels of one pixel, aligned to a cache line.
#[derive(Clone, Copy, Debug, Pod, Zeroable)]
#[repr(C, align(64))]
pub(super) struct Line(pub(super) [f32; LANES]);

impl Line {
    pub(super) const ZERO: Self = Self([0.0; LANES]);

    /// Combines two lines lane by lane.
    pub(super) fn zip(self, other: Self, mut f: impl FnMut(f32, f32) -> f32) -> Self {
        let mut result = self;
        for (a, b) in result.0.iter_mut().zip(other.0) {
            *a = f(*a, b);
        }
        result
    }

    /// Applies a function to each lane.
    pub(super) fn map(self, f: impl FnMut(f32) -> f32) -> Self {
        Self(self.0.map(f))
    }
}

/// Where each line of an activation is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Layout {
    pub(super) shape: Shape,
}

impl Layout {
    pub(super) const fn new(shape: Shape) -> Self {
        Self { shape }
    }

    /// The number of blocks of 16 channels; the last one may be partial.
    pub(super) const fn blocks(&self) -> usize {
        self.shape.c.div_ceil(LANES)
    }

    /// The number of lines in one block, including the zero line.
    pub(super) const fn plane(&self) -> usize {
        self.shape.pixels() + 1
    }

    /// The number of lines in the activation.
    pub(super) const fn lines(&self) -> usize {
        self.blocks() * self.plane()
    }

    /// Index of a pixel's line within its plane.
    pub(super) const fn pixel(&self, n: usize, y: usize, x: usize) -> usize {
        (n * self.shape.h + y) * self.shape.w + x
    }

    /// Clears the zero lines.
    pub(super) fn clear_zero_lines(&self, lines: &mut [Line]) {
        for plane in lines.chunks_exact_mut(self.plane()) {
            plane[self.shape.pixels()] = Line::ZERO;
        }
    }

    /// Converts from row-major NCHW.
    pub(super) fn pack(&self, data: &[f32], lines: &mut [Line]) {
        let Shape { n: batch, c, h, w } = self.shape;
        let image = h * w;
        for (block, plane) in lines.chunks_exact_mut(self.plane()).enumerate() {
            let first_c = block * LANES;
            let channels = LANES.min(c - first_c);
            plane.fill(Line::ZERO);
            for n in 0..batch {
                let target = &mut plane[n * image..][..image];
                for lane in 0..channels {
                    let source = &data[(n * c + first_c + lane) * image..][..image];
                    for (line, &value) in target.iter_mut().zip(source) {
                        line.0[lane] = value;
                    }
                }
            }
        }
    }

    /// Converts to row-major NCHW.
    pub(super) fn unpack(&self, lines: &[Line]) -> Vec<f32> {
        let Shape { n: batch, c, h, w } = self.shape;
        let image = h * w;
        let mut data = Vec::with_capacity(self.shape.len());
        for n in 0..batch {
            for c in 0..c {
                let source = &lines[c / LANES * self.plane() + n * image..][..image];
                data.extend(source.iter().map(|line| line.0[c % LANES]));
            }
        }
        data
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packing_puts_channels_side_by_side_and_ends_planes_with_zeros() {
        let layout = Layout::new(Shape::new(2, 17, 1, 2));
        let data: Vec<f32> = (0u8..68).map(f32::from).collect();
        let mut lines = vec![Line([9.0; LANES]); layout.lines()];
        layout.pack(&data, &mut lines);
        assert_eq!(lines.len(), 10, "two planes of four pixels and a zero line");
        assert_eq!(lines[1].0[..3], [1.0, 3.0, 5.0], "image 0, pixel 1");
        assert_eq!(lines[2].0[..3], [34.0, 36.0, 38.0], "image 1, pixel 0");
        assert_eq!(lines[4].0, [0.0; LANES], "zero line");
        assert_eq!(lines[5].0[..2], [32.0, 0.0], "channel 16, then a zero tail");
        assert_eq!(layout.unpack(&lines), data, "round trip");
    }
}
