//! Where a window lies: ONNX states padding by sides or by a rule, and rounds sizes down or up. Both
//! become padding by sides; what rounding up adds is kept apart, because averages do not count it.

use resnet_wgpu::graph::Padding;

/// The attribute `auto_pad`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum AutoPad {
    /// Padding is stated: above, left, below, right.
    Stated([usize; 4]),
    /// As much padding as gives ⌈size / stride⌉ positions, an odd row below and to the right.
    SameUpper,
    /// The same with an odd row above and to the left.
    SameLower,
}

/// The attributes of a window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Placement {
    pub(super) kernel: [usize; 2],
    pub(super) stride: [usize; 2],
    pub(super) pad: AutoPad,
    /// Whether a last window that is only partly in the image counts.
    pub(super) ceil: bool,
}

/// Padding of an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Placed {
    /// What the attributes say.
    pub(super) padding: Padding,
    /// Rows below and columns to the right that only rounding up adds.
    pub(super) extra: [usize; 2],
}

impl Placed {
    /// All of it.
    pub(super) const fn whole(&self) -> Padding {
        Padding {
            bottom: self.padding.bottom + self.extra[0],
            right: self.padding.right + self.extra[1],
            ..self.padding
        }
    }
}

impl Placement {
    /// The padding of an image of `size` rows and columns. All numbers must be below 2³¹.
    pub(super) fn place(&self, size: [usize; 2]) -> Placed {
        let [top, bottom, more_rows] = self.axis(0, size[0]);
        let [left, right, more_columns] = self.axis(1, size[1]);
        Placed {
            padding: Padding {
                top,
                bottom,
                left,
                right,
            },
            extra: [more_rows, more_columns],
        }
    }

    /// Padding before and after, and what rounding up adds after.
    fn axis(&self, axis: usize, size: usize) -> [usize; 3] {
        let (kernel, stride) = (self.kernel[axis], self.stride[axis]);
        match self.pad {
            AutoPad::Stated(pads) => {
                let (before, after) = (pads[axis], pads[axis + 2]);
                let padded = size + before + after;
                if !self.ceil || padded < kernel {
                    return [before, after, 0];
                }
                let last = (padded - kernel).div_ceil(stride) * stride;
                // A window that starts right of the image does not count, in ONNX as in PyTorch.
                let extra = if last >= size + before {
                    0
                } else {
                    (last + kernel).saturating_sub(padded)
                };
                [before, after, extra]
            }
            AutoPad::SameUpper | AutoPad::SameLower => {
                let last = size.div_ceil(stride).saturating_sub(1) * stride;
                let total = (last + kernel).saturating_sub(size);
                let (less, more) = (total / 2, total - total / 2);
                match self.pad {
                    AutoPad::SameLower => [more, less, 0],
                    _ => [less, more, 0],
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Before, after and extra of a window of `kernel` at `stride` along one axis.
    fn axis(pad: AutoPad, ceil: bool, [size, kernel, stride]: [usize; 3]) -> [usize; 3] {
        let placement = Placement {
            kernel: [kernel, 1],
            stride: [stride, 1],
            pad,
            ceil,
        };
        let placed = placement.place([size, 1]);
        [placed.padding.top, placed.padding.bottom, placed.extra[0]]
    }

    #[test]
    fn same_padding_depends_on_the_size() {
        // TensorFlow: an even size at stride 2 is padded on one side only.
        assert_eq!(
            axis(AutoPad::SameUpper, false, [8, 3, 2]),
            [0, 1, 0],
            "even"
        );
        assert_eq!(
            axis(AutoPad::SameLower, false, [8, 3, 2]),
            [1, 0, 0],
            "lower"
        );
        assert_eq!(axis(AutoPad::SameUpper, false, [7, 3, 2]), [1, 1, 0], "odd");
        assert_eq!(
            axis(AutoPad::SameUpper, false, [224, 7, 2]),
            [2, 3, 0],
            "stem"
        );
        assert_eq!(axis(AutoPad::SameUpper, false, [8, 1, 2]), [0, 0, 0], "1×1");
    }

    #[test]
    fn rounding_up_adds_what_the_last_window_needs() {
        let none = AutoPad::Stated([0; 4]);
        assert_eq!(axis(none, true, [8, 3, 2]), [0, 0, 1], "one more row");
        assert_eq!(axis(none, false, [8, 3, 2]), [0, 0, 0], "rounded down");
        assert_eq!(axis(none, true, [7, 3, 2]), [0, 0, 0], "fits");
        assert_eq!(
            axis(none, true, [3, 1, 3]),
            [0, 0, 0],
            "would start outside"
        );
        let one = AutoPad::Stated([1; 4]);
        assert_eq!(
            axis(one, true, [4, 2, 3]),
            [1, 1, 0],
            "would start in the padding"
        );
    }
}
