//! Maximum over a sliding window, and the window geometry that `avg_pool` shares.

use super::{Kernel, Launch, flag, number, read, write};
use crate::graph::{PadValue, Window};
use crate::tensor::Shape;

/// `shaders/max_pool.wgsl`.
pub static KERNEL: Kernel = Kernel {
    name: "max_pool",
    source: include_str!("../../shaders/max_pool.wgsl"),
    threads: 256,
    bindings: &[read("input"), write("output")],
};

/// One launch: a grid-stride loop over channel groups × output pixels.
pub fn launch(input: Shape, output: Shape, window: &Window, pad_value: PadValue) -> Launch {
    let zero_padded = ("ZERO_PADDED", flag(pad_value == PadValue::Zero));
    window_launch(&KERNEL, input, output, window, zero_padded)
}

/// A launch of a kernel that slides a window over four channels at a time.
pub(super) fn window_launch(
    kernel: &'static Kernel,
    input: Shape,
    output: Shape,
    window: &Window,
    padding_rule: (&'static str, f64),
) -> Launch {
    let overrides = [
        ("GROUPS", number(output.channel_groups())),
        ("IN_H", number(input.h)),
        ("IN_W", number(input.w)),
        ("IN_PIXELS", number(input.pixels())),
        ("OUT_H", number(output.h)),
        ("OUT_W", number(output.w)),
        ("OUT_PIXELS", number(output.pixels())),
        ("KERNEL_H", number(window.kernel[0])),
        ("KERNEL_W", number(window.kernel[1])),
        ("STRIDE_H", number(window.stride[0])),
        ("STRIDE_W", number(window.stride[1])),
        ("PAD_TOP", number(window.padding.top)),
        ("PAD_LEFT", number(window.padding.left)),
        padding_rule,
    ];
    Launch::over(kernel, output.vectors(), overrides)
}
