//! What the program, the readers of weight files, tests and benches of this repository share with the
//! library. None of it is part of the face: anything here may change in any version.

pub mod files;

/// Columns of a texture into which rows of any length are folded.
pub const FOLD_WIDTH: usize = crate::tensor::FOLD_WIDTH;

/// Whether two tensors agree.
pub mod compare {
    pub use crate::compare::*;
}

/// One module for each shader.
pub mod kernels {
    pub use crate::kernels::*;
}

/// Which activations share a buffer.
pub mod memory {
    pub use crate::plan::memory::*;
}

/// The oracle.
#[cfg(feature = "cpu")]
pub mod reference {
    pub use crate::reference::*;
}
