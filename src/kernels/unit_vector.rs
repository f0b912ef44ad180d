//! A vector divided by its length.

use super::{Kernel, Launch, grid, number, read_single, write_single};

/// `shaders/unit_vector.wgsl`.
pub static KERNEL: Kernel = Kernel {
    name: "unit_vector",
    source: include_str!("../../shaders/unit_vector.wgsl"),
    threads: 64,
    bindings: &[read_single("input"), write_single("output")],
};

/// One launch over a vector of `width` vectors of four.
pub fn launch(width: usize) -> Launch {
    Launch {
        overrides: vec![("WIDTH", number(width))],
        ..Launch::new(&KERNEL, grid(1, 1))
    }
}
