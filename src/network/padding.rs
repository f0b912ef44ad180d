//! Padding as a rule, which gives the rows and columns to add to an image of any size.

use serde::{Deserialize, Serialize};

use crate::graph::Padding;

/// The padding around an image for a convolution or pooling: fixed sides, and a rule that adds to
/// them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Stored", into = "Stored")]
pub struct PaddingRule {
    /// Fixed padding.
    pub sides: Padding,
    /// The rule for additional padding, which depends on the image size.
    pub fill: Fill,
}

/// A rule that adds to fixed padding. It applies to each axis separately.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Fill {
    /// Nothing.
    #[default]
    Nothing,
    /// Enough for ⌈size / stride⌉ window positions, where an odd row or column is added at the
    /// bottom or right (TensorFlow's `same`).
    Same,
    /// The same, where an odd row or column is added at the top or left.
    SameLower,
    /// At the bottom and right, enough for a last window that lies only partly in the image
    /// (PyTorch's `ceil_mode`).
    Ceil,
}

impl PaddingRule {
    /// The same number of rows and columns on all four sides.
    pub const fn all(padding: usize) -> Self {
        Self::fixed(Padding::all(padding))
    }

    /// Fixed padding.
    pub const fn fixed(sides: Padding) -> Self {
        Self {
            sides,
            fill: Fill::Nothing,
        }
    }

    /// The padding of a rule alone, without fixed sides.
    pub const fn filled(fill: Fill) -> Self {
        let sides = Padding::all(0);
        Self { sides, fill }
    }

    /// The padding that the rule adds to the fixed sides of an image of this height and width;
    /// `None` if a number overflows or a stride is zero.
    pub fn added(
        &self,
        kernel: [usize; 2],
        stride: [usize; 2],
        size: [usize; 2],
    ) -> Option<Padding> {
        let Padding {
            top,
            bottom,
            left,
            right,
        } = self.sides;
        let rows = self.fill.axis(kernel[0], stride[0], size[0], [top, bottom]);
        let columns = self.fill.axis(kernel[1], stride[1], size[1], [left, right]);
        let ([top, bottom], [left, right]) = (rows?, columns?);
        Some(Padding {
            top,
            bottom,
            left,
            right,
        })
    }

    /// The total padding for an image of this height and width; `None` as in [`Self::added`].
    pub fn resolve(
        &self,
        kernel: [usize; 2],
        stride: [usize; 2],
        size: [usize; 2],
    ) -> Option<Padding> {
        let added = self.added(kernel, stride, size)?;
        Some(Padding {
            top: self.sides.top.checked_add(added.top)?,
            bottom: self.sides.bottom.checked_add(added.bottom)?,
            left: self.sides.left.checked_add(added.left)?,
            right: self.sides.right.checked_add(added.right)?,
        })
    }
}

impl Fill {
    /// The padding that the rule adds before and after an axis that has fixed padding.
    fn axis(
        self,
        kernel: usize,
        stride: usize,
        size: usize,
        [before, after]: [usize; 2],
    ) -> Option<[usize; 2]> {
        if self == Self::Nothing {
            return Some([0, 0]);
        }
        let padded = size.checked_add(before)?.checked_add(after)?;
        if self == Self::Ceil {
            // The graph reports a window that is larger than the image.
            let Some(room) = padded.checked_sub(kernel) else {
                return Some([0, 0]);
            };
            let last = room.checked_next_multiple_of(stride)?;
            // A window that starts beyond the image is dropped, in ONNX as in PyTorch.
            let starts_outside = last >= size + before;
            let covered = if starts_outside { 0 } else { last + kernel };
            return Some([0, covered.saturating_sub(padded)]);
        }
        let last = padded
            .checked_next_multiple_of(stride)?
            .saturating_sub(stride);
        let total = last.checked_add(kernel)?.saturating_sub(padded);
        let (less, more) = (total / 2, total - total / 2);
        Some(match self {
            Self::SameLower => [more, less],
            Self::Nothing | Self::Same | Self::Ceil => [less, more],
        })
    }
}

/// The form in files: a list of top, bottom, left and right, or an object with the rule.
#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum Stored {
    Sides([usize; 4]),
    Rule { sides: [usize; 4], fill: Fill },
}

impl From<Stored> for PaddingRule {
    fn from(stored: Stored) -> Self {
        let ([top, bottom, left, right], fill) = match stored {
            Stored::Sides(sides) => (sides, Fill::Nothing),
            Stored::Rule { sides, fill } => (sides, fill),
        };
        let sides = Padding {
            top,
            bottom,
            left,
            right,
        };
        Self { sides, fill }
    }
}

impl From<PaddingRule> for Stored {
    fn from(PaddingRule { sides, fill }: PaddingRule) -> Self {
        let sides = [sides.top, sides.bottom, sides.left, sides.right];
        match fill {
            Fill::Nothing => Self::Sides(sides),
            fill => Self::Rule { sides, fill },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The padding added before and after an axis for a window of size `kernel` at `stride`.
    fn added(fill: Fill, padding: usize, [size, kernel, stride]: [usize; 3]) -> [usize; 2] {
        let sides = Padding::all(padding);
        let rule = PaddingRule { sides, fill };
        let added = rule.added([kernel, 1], [stride, 1], [size, 1]).unwrap();
        [added.top, added.bottom]
    }

    #[test]
    fn same_padding_depends_on_the_size() {
        // As in TensorFlow, an even size at stride 2 is padded on one side only.
        assert_eq!(added(Fill::Same, 0, [8, 3, 2]), [0, 1], "even");
        assert_eq!(added(Fill::SameLower, 0, [8, 3, 2]), [1, 0], "lower");
        assert_eq!(added(Fill::Same, 0, [7, 3, 2]), [1, 1], "odd");
        assert_eq!(added(Fill::Same, 0, [224, 7, 2]), [2, 3], "stem");
        assert_eq!(added(Fill::Same, 0, [8, 1, 2]), [0, 0], "1×1");
    }

    #[test]
    fn rounding_up_adds_what_the_last_window_needs() {
        assert_eq!(added(Fill::Ceil, 0, [8, 3, 2]), [0, 1], "one more row");
        assert_eq!(added(Fill::Nothing, 0, [8, 3, 2]), [0, 0], "rounded down");
        assert_eq!(added(Fill::Ceil, 0, [7, 3, 2]), [0, 0], "fits");
        assert_eq!(added(Fill::Ceil, 0, [3, 1, 3]), [0, 0], "starts outside");
        assert_eq!(added(Fill::Ceil, 1, [4, 2, 3]), [0, 0], "in the padding");
    }

    #[test]
    fn files_have_a_list_or_a_rule() {
        for (rule, text) in [
            (PaddingRule::all(1), "[1,1,1,1]"),
            (
                PaddingRule::filled(Fill::Ceil),
                r#"{"sides":[0,0,0,0],"fill":"ceil"}"#,
            ),
        ] {
            assert_eq!(serde_json::to_string(&rule).unwrap(), text);
            let read: PaddingRule = serde_json::from_str(text).unwrap();
            assert_eq!(read, rule, "{text}");
        }
    }
}
