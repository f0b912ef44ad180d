//! Convolution, with what is fused into it.

use crate::graph::{Padding, ParamId};

/// A convolution; its kernel size is that of its weight.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Conv2d {
    /// Weight, OIHW: `[out, in / groups, kernel rows, kernel columns]`.
    pub weight: ParamId,
    /// Bias, `[out]`.
    pub bias: Option<ParamId>,
    /// Rows and columns between two positions of the kernel.
    pub stride: [usize; 2],
    /// Zeros around the image.
    pub padding: Padding,
    /// Channel groups that do not see each other.
    pub groups: usize,
    /// Clamp the result, after the residual was added, at zero.
    pub relu: bool,
}

impl Conv2d {
    /// A convolution of stride 1, without padding, bias, groups or ReLU.
    pub const fn new(weight: ParamId) -> Self {
        Self {
            weight,
            bias: None,
            stride: [1, 1],
            padding: Padding::all(0),
            groups: 1,
            relu: false,
        }
    }

    /// With a bias.
    #[must_use]
    pub const fn bias(self, bias: Option<ParamId>) -> Self {
        Self { bias, ..self }
    }

    /// With the same stride along rows and columns.
    #[must_use]
    pub const fn stride(self, stride: usize) -> Self {
        Self {
            stride: [stride, stride],
            ..self
        }
    }

    /// With the same padding on all four sides.
    #[must_use]
    pub const fn padding(self, padding: usize) -> Self {
        Self {
            padding: Padding::all(padding),
            ..self
        }
    }

    /// With channel groups.
    #[must_use]
    pub const fn groups(self, groups: usize) -> Self {
        Self { groups, ..self }
    }
}
