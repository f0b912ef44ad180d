//! What the program, the readers of weight files, tests and benches of this repository share with the
//! library. None of it is part of the face: anything here may change in any version.

pub mod files;

/// Columns of a texture into which rows of any length are folded.
pub const FOLD_WIDTH: usize = crate::tensor::FOLD_WIDTH;
