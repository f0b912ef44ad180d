//! The largest numbers of a list, and where they are.

use super::{Kernel, Launch, grid, number, read_single, write_single};

/// `shaders/top_k.wgsl`.
pub static KERNEL: Kernel = Kernel {
    name: "top_k",
    source: include_str!("../../shaders/top_k.wgsl"),
    threads: 256,
    bindings: &[read_single("input"), write_single("output")],
};

/// One launch over all numbers of a buffer, of which there are at least `k`.
pub fn launch(k: usize) -> Launch {
    Launch {
        overrides: vec![("K", number(k))],
        ..Launch::new(&KERNEL, grid(1, 1))
    }
}
