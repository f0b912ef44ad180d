//! Mean over all pixels of an image, on textures.

use crate::kernels::{Kernel, Launch, load, store};
use crate::tensor::Shape;

/// `shaders/textures/global_avg_pool_texture.wgsl`.
pub static KERNEL: Kernel = Kernel {
    name: "global_avg_pool_texture",
    source: include_str!("../../../shaders/textures/global_avg_pool_texture.wgsl"),
    threads: 8,
    bindings: &[load("input"), store("output")],
};

/// One launch: a grid-stride loop over channel groups × images.
pub fn launch(input: Shape) -> Launch {
    let len = input.channel_groups() * input.n;
    let sizes = [("len", len), ("pixels", input.h * input.w)];
    Launch::over_sized(&KERNEL, len, sizes)
}
