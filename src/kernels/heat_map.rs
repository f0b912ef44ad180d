//! Turns a one-channel map into an image: interpolated, stretched and coloured.

use super::{Kernel, Launch, grid, read_single, write_single};
use crate::explain::Sites;
use crate::tensor::Shape;

/// `shaders/heat_map.wgsl`.
pub static KERNEL: Kernel = Kernel {
    name: "heat_map",
    source: include_str!("../../shaders/heat_map.wgsl"),
    threads: SIDE * SIDE,
    bindings: &[
        read_single("input"),
        read_single("table"),
        write_single("output"),
    ],
};

/// Side of a workgroup in pixels, as in the shader.
pub const SIDE: usize = 8;

/// How a map is drawn.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Picture<'a> {
    /// Height and width.
    pub size: [usize; 2],
    /// Length of a row in the buffer, in 32-bit words.
    pub pitch: usize,
    /// The index of the image in the batch.
    pub image: usize,
    /// Whether values are stretched to 0..1.
    pub stretch: bool,
    /// 256 colours for values from 0 to 1, as words; without them, the values themselves are
    /// written as floats.
    pub colors: Option<&'a [u32]>,
}

/// One launch over the pixels of the image.
pub fn launch([h, w]: [usize; 2]) -> Launch {
    Launch::new(&KERNEL, grid(w.div_ceil(SIDE), h.div_ceil(SIDE)))
}

/// The shader's `table` for a map of `shape` whose pixels are at `sites`.
pub fn table(shape: Shape, sites: &Sites, picture: &Picture<'_>) -> Vec<u32> {
    let [h, w] = picture.size;
    let header = [
        w,
        h,
        picture.pitch,
        picture.image * shape.h * shape.w,
        shape.w,
        shape.h,
        picture.stretch.into(),
        picture.colors.is_some().into(),
    ];
    let sizes = header.map(|size| u32::try_from(size).unwrap_or(u32::MAX));
    let mut table = sizes.to_vec();
    for (axis, pixels) in [(1, w), (0, h)] {
        for number in sites.scale_and_offset(axis, pixels) {
            #[expect(
                clippy::cast_possible_truncation,
                reason = "places in a map of a few pixels"
            )]
            table.push((number as f32).to_bits());
        }
    }
    table.extend(picture.colors.unwrap_or(&[0; 256]));
    table
}
