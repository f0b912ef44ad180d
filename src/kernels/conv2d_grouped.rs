//! Convolution with independent channel groups, including depthwise convolution.

use super::conv2d::{BINDINGS, Geometry, out_in_taps};
use super::packing::Source;
use super::{Kernel, Launch, Packing, Storage, number};
use crate::tensor::{LANES, Tensor};

/// `shaders/conv2d_grouped.wgsl`.
pub static KERNEL: Kernel = Kernel {
    name: "conv2d_grouped",
    source: include_str!("../../shaders/conv2d_grouped.wgsl"),
    threads: 64,
    bindings: BINDINGS,
};

/// One launch: a grid-stride loop over channel groups × output pixels.
pub fn launch(geometry: &Geometry) -> Launch {
    let Geometry {
        input,
        output,
        groups,
        ..
    } = *geometry;
    let mut overrides = geometry.overrides();
    overrides.extend(geometry.window_overrides());
    overrides.extend([
        ("IN_C", number(input.c)),
        ("GROUP_IN", number(input.c / groups)),
        ("GROUP_OUT", number(output.c / groups)),
    ]);
    Launch {
        tile: geometry.constants(),
        ..Launch::over(&KERNEL, output.vectors(), overrides)
    }
}

/// Reorders OIHW weights to `[co / 4][(ky, kx)][i][co % 4]`.
pub(crate) fn packing(weight: &Tensor) -> Packing {
    let [out_c, group_in, taps] = out_in_taps(weight);
    let len = out_c.next_multiple_of(LANES) * group_in * taps;
    let source = Source::new("grouped", [weight]);
    Packing::in_blocks(source, Storage::Buffer, len, LANES, move |_, weight| {
        let rows = weight.chunks_exact(group_in * taps);
        let mut packed = vec![0.0; rows.len().next_multiple_of(LANES) * group_in * taps];
        for (co, row) in rows.enumerate() {
            for (i, channel) in row.chunks_exact(taps).enumerate() {
                for (tap, &value) in channel.iter().enumerate() {
                    let vector = ((co / LANES) * taps + tap) * group_in + i;
                    packed[vector * LANES + co % LANES] = value;
                }
            }
        }
        packed
    })
}
