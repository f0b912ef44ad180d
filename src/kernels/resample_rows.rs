//! Turns a texture of the host into rows of 8-bit RGBA as wide as the network's image.
//! [`super::resample`] makes its table.

use super::{Kernel, Launch, grid, number, read_single, sample, write_single};

/// `shaders/resample_rows.wgsl`.
pub static KERNEL: Kernel = Kernel {
    name: "resample_rows",
    source: include_str!("../../shaders/resample_rows.wgsl"),
    threads: SIDE * SIDE,
    bindings: &[
        sample("image"),
        sample("chroma"),
        sample("cr"),
        read_single("table"),
        write_single("output"),
    ],
};

/// Side of a workgroup in pixels, as in the shader.
pub const SIDE: usize = 8;

/// One launch over the rows to be read, of colours, which are one plane, or of the two or three of a video.
pub fn launch([h, w]: [usize; 2], planes: usize) -> Launch {
    Launch {
        overrides: vec![("PLANES", number(planes))],
        ..Launch::new(&KERNEL, grid(w.div_ceil(SIDE), h.div_ceil(SIDE)))
    }
}
