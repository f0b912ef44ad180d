//! The gradient of one logit with respect to the classifier's input: a row of its weights.

use super::packing::Source;
use super::{Kernel, Launch, Packing, Storage, grid, number, read_single, write_single};
use crate::tensor::{Shape, Tensor, pack};

/// `shaders/class_gradient.wgsl`.
pub static KERNEL: Kernel = Kernel {
    name: "class_gradient",
    source: include_str!("../../shaders/class_gradient.wgsl"),
    threads: 64,
    bindings: &[
        read_single("input"),
        read_single("weight"),
        read_single("choice"),
        write_single("output"),
    ],
};

/// One launch: x: the vectors of one image, y: images.
pub fn launch(logits: Shape, output: Shape) -> Launch {
    let pixels = output.h * output.w;
    let len = output.channel_groups() * pixels;
    Launch {
        overrides: vec![
            ("CLASSES", number(logits.c)),
            ("BATCH", number(logits.n)),
            ("LEN", number(len)),
            ("PIXELS", number(pixels)),
        ],
        ..Launch::new(&KERNEL, grid(len.div_ceil(KERNEL.threads), logits.n))
    }
}

/// Packs `[class, c, h, w]`: each class is a channel-packed image.
pub(crate) fn packing(weight: &Tensor) -> Packing {
    let &[classes, c, h, w] = weight.dims() else {
        unreachable!("the graph has checked that the weight is [class, c, h, w]");
    };
    let row = Shape::new(1, c, h, w);
    let len = classes * row.packed_len();
    let source = Source::new("classes", [weight]);
    Packing::in_blocks(source, Storage::Buffer, len, 1, move |_, weight| {
        let rows = weight.chunks_exact(row.len());
        rows.flat_map(|values| pack(row, values)).collect()
    })
}
