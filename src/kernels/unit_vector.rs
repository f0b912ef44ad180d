//! Vectors divided by their lengths.

use super::{Kernel, Launch, grid, number, read_single, write_single};

/// `shaders/unit_vector.wgsl`.
pub static KERNEL: Kernel = Kernel {
    name: "unit_vector",
    source: include_str!("../../shaders/unit_vector.wgsl"),
    threads: 64,
    bindings: &[read_single("input"), write_single("output")],
};

/// One launch: a workgroup for each of `count` images, which has `width` vectors of four numbers.
pub fn launch(width: usize, count: usize) -> Launch {
    Launch {
        overrides: vec![("WIDTH", number(width)), ("COUNT", number(count))],
        ..Launch::new(&KERNEL, grid(count, 1))
    }
}
