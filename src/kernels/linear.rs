//! `y = W·x + b`, streamed once through a workgroup per four outputs.

use super::{Kernel, Launch, number, read, read_single, write_single};
use crate::tensor::{LANES, Shape, Tensor};

/// `shaders/linear.wgsl`.
pub static KERNEL: Kernel = Kernel {
    name: "linear",
    source: include_str!("../../shaders/linear.wgsl"),
    bindings: &[
        read_single("input"),
        read("weight"),
        read_single("bias"),
        write_single("output"),
    ],
};

/// Threads of a workgroup, as in the shader.
pub const THREADS: usize = 64;

/// One launch: x: groups of four outputs, y: images.
pub fn launch(input: Shape, output: Shape) -> Launch {
    Launch {
        overrides: vec![
            ("IN_GROUPS", number(input.channel_groups())),
            ("BATCH", number(input.n)),
        ],
        ..Launch::new(
            &KERNEL,
            THREADS,
            [output.channel_groups() as u64, output.n as u64, 1],
        )
    }
}

/// `[out, in]` weights to `[out / 4][in / 4][out % 4][in % 4]`, zero-padded.
pub(super) fn pack_weight(weight: &Tensor) -> Vec<f32> {
    let &[out, inputs] = weight.dims() else {
        unreachable!("the graph has checked that the weight is [out, in]");
    };
    let in_groups = inputs.div_ceil(LANES);
    let mut packed = vec![0.0; out.next_multiple_of(LANES) * in_groups * LANES];
    for (o, row) in weight.data().chunks_exact(inputs).enumerate() {
        for (i_group, four) in row.chunks(LANES).enumerate() {
            let vector = ((o / LANES) * in_groups + i_group) * LANES + o % LANES;
            packed[vector * LANES..][..four.len()].copy_from_slice(four);
        }
    }
    packed
}
