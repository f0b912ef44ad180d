//! Windows that slide over an image, and the padding around it.

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

/// A window that slides over an image: its size, step and the padding around the image.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Window {
    /// Rows and columns of the window.
    pub kernel: [usize; 2],
    /// Rows and columns between two positions.
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

    /// Rows and columns of the result for an image of `h` × `w`.
    pub(super) fn output_size(&self, h: usize, w: usize) -> Result<[usize; 2], String> {
        let side = |what, size: usize, before: usize, after: usize, kernel, stride| {
            if kernel == 0 || stride == 0 {
                return Err("kernel and stride must be at least 1".to_owned());
            }
            let padded = size
                .checked_add(before)
                .and_then(|s| s.checked_add(after))
                .ok_or("padding overflows")?;
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
