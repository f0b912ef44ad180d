//! Cosine similarity of a vector to each row of a matrix.

use super::{Kernel, Launch, grid, number, read_single, write_single};

/// `shaders/similarity.wgsl`.
pub static KERNEL: Kernel = Kernel {
    name: "similarity",
    source: include_str!("../../shaders/similarity.wgsl"),
    threads: 64,
    bindings: &[
        read_single("input"),
        read_single("query"),
        write_single("output"),
    ],
};

/// Rows of a workgroup, as in the shader.
pub const ROWS: usize = 4;

/// One launch over rows of `width` vectors of four.
pub fn launch(rows: usize, width: usize) -> Launch {
    Launch {
        overrides: vec![("WIDTH", number(width))],
        ..Launch::new(&KERNEL, grid(rows.div_ceil(ROWS), 1))
    }
}
