//! Windows that slide over an image, and the padding around it.

use std::fmt;

/// Rows and columns added around an image before a window slides over it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Padding {
    /// Rows above.
    pub top: usize,
    /// Rows below.
    pub bottom: usize,
    /// Columns to the left.
    pub left: usize,
    /// Columns to the right.
    pub right: usize,
}

impl Padding {
    /// The same number on all four sides.
    pub const fn all(padding: usize) -> Self {
        Self {
            top: padding,
            bottom: padding,
            left: padding,
            right: padding,
        }
    }
}

/// Maximum kernel size and stride: a global pool has the size of its image.
const MAX_STEP: usize = 1 << 14;
/// Maximum padding on one side.
const MAX_PADDING: usize = 1 << 10;

/// A sliding window: its size, its stride, and the padding around the image.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Window {
    /// Height and width of the window.
    pub kernel: [usize; 2],
    /// Vertical and horizontal stride.
    pub stride: [usize; 2],
    /// Padding around the image.
    pub padding: Padding,
}

impl Window {
    /// A square window without padding.
    pub const fn square(kernel: usize, stride: usize) -> Self {
        Self {
            kernel: [kernel, kernel],
            stride: [stride, stride],
            padding: Padding::all(0),
        }
    }

    /// The same window with the same padding on all four sides.
    #[must_use]
    pub const fn padded(self, padding: usize) -> Self {
        Self {
            padding: Padding::all(padding),
            ..self
        }
    }

    /// Height and width of the output for an image of this height and width.
    pub(super) fn output_size(&self, [h, w]: [usize; 2]) -> Result<[usize; 2], String> {
        let side = |what, size: usize, before: usize, after: usize, kernel, stride| {
            if kernel == 0 || stride == 0 {
                return Err("kernel and stride must be at least 1".to_owned());
            }
            if kernel > MAX_STEP || stride > MAX_STEP || before.max(after) > MAX_PADDING {
                return Err(format!(
                    "a kernel of {kernel} {what}, a stride of {stride} and a padding of {before} and \
                     {after} make no sense: at most {MAX_STEP}, {MAX_STEP} and {MAX_PADDING} are \
                     accepted"
                ));
            }
            // Image sizes are far from overflowing.
            let padded = size.saturating_add(before + after);
            if padded < kernel {
                return Err(format!(
                    "the kernel covers {kernel} {what}, the padded input has only {padded}"
                ));
            }
            Ok((padded - kernel) / stride + 1)
        };
        let Padding {
            top,
            bottom,
            left,
            right,
        } = self.padding;
        Ok([
            side("rows", h, top, bottom, self.kernel[0], self.stride[0])?,
            side("columns", w, left, right, self.kernel[1], self.stride[1])?,
        ])
    }
}

impl fmt::Display for Window {
    /// Formats a window such as `3×3, stride 2, padding 1`; unequal padding is listed clockwise
    /// from the top.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [h, w] = self.kernel;
        write!(f, "{h}×{w}, stride ")?;
        match self.stride {
            [y, x] if y == x => write!(f, "{y}")?,
            [y, x] => write!(f, "{y}×{x}")?,
        }
        let Padding {
            top,
            bottom,
            left,
            right,
        } = self.padding;
        if [bottom, left, right] == [top; 3] {
            write!(f, ", padding {top}")
        } else {
            write!(f, ", padding {top} {right} {bottom} {left}")
        }
    }
}
