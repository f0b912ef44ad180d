//! Sums of the pixels of an image, weighed by how well they answer queries.

use super::packing::Source;
use super::{Kernel, Launch, Packing, Storage, grid, number, read_single, write_single};
use crate::tensor::{LANES, Shape, Tensor};

/// `shaders/attention_pool.wgsl`.
pub static KERNEL: Kernel = Kernel {
    name: "attention_pool",
    source: include_str!("../../shaders/attention_pool.wgsl"),
    threads: 64,
    bindings: &[
        read_single("input"),
        read_single("queries"),
        read_single("position"),
        write_single("output"),
    ],
};

/// One launch: x: queries, y: images.
pub fn launch(input: Shape, output: Shape) -> Launch {
    Launch {
        overrides: vec![
            ("CHANNEL_GROUPS", number(input.channel_groups())),
            ("BATCH", number(input.n)),
            ("PLANE", number(input.h * input.w)),
        ],
        ..Launch::new(&KERNEL, grid(output.c / input.c.max(1), input.n))
    }
}

/// `[token, c]` as `[c / 4][token][c % 4]`.
pub(crate) fn packing(positions: &Tensor) -> Packing {
    let positions = positions.clone();
    let &[tokens, c] = positions.dims() else {
        unreachable!("the graph has checked that positions are [token, c]");
    };
    let source = Source::new("tokens of channel groups", [&positions]);
    Packing::new(source, Storage::Buffer, tokens * c, move || {
        let data = positions.data();
        let packed = (0..tokens * c).map(|i| {
            let (group, token, lane) = (i / (LANES * tokens), i / LANES % tokens, i % LANES);
            data[token * c + group * LANES + lane]
        });
        packed.collect()
    })
}
