//! Turns rows of 8-bit RGBA into the network's image. [`super::resample`] makes its table.

use super::{Kernel, Launch, grid, read_single, write_single};

/// `shaders/resample_columns.wgsl`.
pub static KERNEL: Kernel = Kernel {
    name: "resample_columns",
    source: include_str!("../../shaders/resample_columns.wgsl"),
    threads: SIDE * SIDE,
    bindings: &[
        read_single("input"),
        read_single("table"),
        write_single("output"),
    ],
};

/// Side of a workgroup in pixels, as in the shader.
pub const SIDE: usize = 8;

/// One launch over the rows of the image.
pub fn launch([h, w]: [usize; 2]) -> Launch {
    Launch::new(&KERNEL, grid(w.div_ceil(SIDE), h.div_ceil(SIDE)))
}
