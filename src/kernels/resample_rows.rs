//! Turns a texture of the host into rows of 8-bit RGBA as wide as the network's image.
//! [`super::resample`] makes its table.

use super::{Kernel, Launch, flag, grid, read_single, sample, write_single};

/// `shaders/resample_rows.wgsl`.
pub static KERNEL: Kernel = Kernel {
    name: "resample_rows",
    source: include_str!("../../shaders/resample_rows.wgsl"),
    threads: SIDE * SIDE,
    bindings: &[
        sample("image"),
        sample("chroma"),
        read_single("table"),
        write_single("output"),
    ],
};

/// Side of a workgroup in pixels, as in the shader.
pub const SIDE: usize = 8;

/// One launch over the rows to be read, of colours or of the luma and chroma of a video.
pub fn launch([h, w]: [usize; 2], video: bool) -> Launch {
    Launch {
        overrides: vec![("VIDEO", flag(video))],
        ..Launch::new(&KERNEL, grid(w.div_ceil(SIDE), h.div_ceil(SIDE)))
    }
}
