//! Maximum over a sliding window, on textures; also the window geometry that `avg_pool_texture`
//! shares.

use super::{Kernel, Launch, grid_stride, immediate, load, store, stride_threads};
use crate::graph::{PadValue, Window};
use crate::tensor::Shape;

/// `shaders/max_pool_texture.wgsl`.
pub static KERNEL: Kernel = Kernel {
    name: "max_pool_texture",
    source: include_str!("../../shaders/max_pool_texture.wgsl"),
    bindings: &[load("input"), store("output")],
};

/// Threads of a workgroup, as in the shader.
pub const THREADS: usize = 64;

/// One launch: a grid-stride loop over channel groups × output pixels.
pub fn launch(input: Shape, output: Shape, window: &Window, pad_value: PadValue) -> Launch {
    let zero_padded = ("zero_padded", i32::from(pad_value == PadValue::Zero));
    window_launch(&KERNEL, input, output, window, zero_padded)
}

/// A launch of a kernel that slides a window over four channels at a time.
pub(super) fn window_launch(
    kernel: &'static Kernel,
    input: Shape,
    output: Shape,
    window: &Window,
    padding_rule: (&'static str, i32),
) -> Launch {
    let (workgroups, _) = grid_stride(output.channel_groups() * output.pixels(), THREADS);
    Launch {
        kernel,
        overrides: vec![],
        tile: vec![],
        immediates: vec![
            ("groups", immediate(output.channel_groups())),
            ("in_h", immediate(input.h)),
            ("in_w", immediate(input.w)),
            ("in_pixels", immediate(input.pixels())),
            ("out_h", immediate(output.h)),
            ("out_w", immediate(output.w)),
            ("out_pixels", immediate(output.pixels())),
            ("kernel_h", immediate(window.kernel[0])),
            ("kernel_w", immediate(window.kernel[1])),
            ("stride_h", immediate(window.stride[0])),
            ("stride_w", immediate(window.stride[1])),
            ("pad_top", immediate(window.padding.top)),
            ("pad_left", immediate(window.padding.left)),
            padding_rule,
            ("stride_threads", stride_threads(workgroups, THREADS)),
        ],
        threads: THREADS,
        workgroups,
    }
}
