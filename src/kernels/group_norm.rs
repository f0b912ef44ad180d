//! Normalisation by the statistics of each group of channels in each image.

use super::{Kernel, Launch, grid, number, read, read_single, write};
use crate::tensor::{LANES, Shape};

/// `shaders/group_norm.wgsl`.
pub static KERNEL: Kernel = Kernel {
    name: "group_norm",
    source: include_str!("../../shaders/group_norm.wgsl"),
    threads: 256,
    bindings: &[
        read("input"),
        read_single("gamma"),
        read_single("beta"),
        write("output"),
    ],
};

/// One launch: x: the fewest vectors that whole groups fill, per workgroup; y: images.
pub fn launch(input: Shape, groups: usize, epsilon: f32) -> Launch {
    let size = input.c / groups;
    // No two workgroups may write to the same vector.
    let vectors = match size % LANES {
        0 => size / LANES,
        2 => size / 2,
        _ => size,
    };
    Launch {
        overrides: vec![
            ("CHANNELS", number(input.c)),
            ("PIXELS", number(input.pixels())),
            ("PLANE", number(input.h * input.w)),
            ("SIZE", number(size)),
            ("VECTORS", number(vectors)),
            ("EPSILON", f64::from(epsilon)),
        ],
        ..Launch::new(
            &KERNEL,
            grid(input.channel_groups().div_ceil(vectors), input.n),
        )
    }
}
