//! Mean over all pixels of an image, on textures.

use crate::kernels::{Kernel, Launch, grid_stride, immediate, load, store, stride_threads};
use crate::tensor::Shape;

/// `shaders/textures/global_avg_pool_texture.wgsl`.
pub static KERNEL: Kernel = Kernel {
    name: "global_avg_pool_texture",
    source: include_str!("../../../shaders/textures/global_avg_pool_texture.wgsl"),
    bindings: &[load("input"), store("output")],
};

/// Threads of a workgroup, as in the shader.
pub const THREADS: usize = 8;

/// One launch: a grid-stride loop over channel groups × images.
pub fn launch(input: Shape) -> Launch {
    let len = input.channel_groups() * input.n;
    let (workgroups, _) = grid_stride(len, THREADS);
    Launch {
        immediates: vec![
            ("len", immediate(len)),
            ("pixels", immediate(input.h * input.w)),
            ("stride_threads", stride_threads(workgroups, THREADS)),
        ],
        ..Launch::new(&KERNEL, THREADS, workgroups)
    }
}
