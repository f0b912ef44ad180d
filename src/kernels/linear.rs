//! `y = W·x + b`; each workgroup streams the weights of four outputs.

use super::conv2d::out_in_taps;
use super::packing::Source;
use super::{Kernel, Launch, Packing, Storage, grid, number, read, read_single, write_single};
use crate::tensor::{LANES, Shape, Tensor};

/// `shaders/linear.wgsl`.
pub static KERNEL: Kernel = Kernel {
    name: "linear",
    source: include_str!("../../shaders/linear.wgsl"),
    threads: 64,
    bindings: &[
        read_single("input"),
        read("weight"),
        read_single("bias"),
        write_single("output"),
    ],
};

/// One launch: x: groups of four outputs, y: images.
pub fn launch(input: Shape, output: Shape) -> Launch {
    Launch {
        overrides: vec![
            ("IN_GROUPS", number(input.channel_groups())),
            ("BATCH", number(input.n)),
        ],
        ..Launch::new(&KERNEL, grid(output.channel_groups(), output.n))
    }
}

/// `[out, in]` weights to `[out / 4][in / 4][out % 4][in % 4]`, zero-padded.
pub(crate) fn packing(weight: &Tensor) -> Packing {
    let [out, inputs, _] = out_in_taps(weight);
    let in_groups = inputs.div_ceil(LANES);
    let len = out.next_multiple_of(LANES) * in_groups * LANES;
    let source = Source::new("four outputs", [weight]);
    Packing::in_blocks(source, Storage::Buffer, len, LANES, move |_, weight| {
        let rows = weight.chunks_exact(inputs);
        let mut packed = vec![0.0; rows.len().next_multiple_of(LANES) * in_groups * LANES];
        for (o, row) in rows.enumerate() {
            for (i_group, four) in row.chunks(LANES).enumerate() {
                let vector = ((o / LANES) * in_groups + i_group) * LANES + o % LANES;
                packed[vector * LANES..][..four.len()].copy_from_slice(four);
            }
        }
        packed
    })
}
