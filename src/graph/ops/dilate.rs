//! Zeros between pixels.

/// The pixels `stride` rows and columns apart, with zeros elsewhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Dilate {
    /// Rows and columns from one pixel to the next.
    pub stride: [usize; 2],
    /// Rows and columns of the result.
    pub size: [usize; 2],
}
