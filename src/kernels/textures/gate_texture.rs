//! An activation times the sigmoid of a gate for each channel, on textures.

use crate::kernels::{Kernel, Launch, gate, load, store};
use crate::tensor::Shape;

/// `shaders/textures/gate_texture.wgsl`.
pub static KERNEL: Kernel = Kernel {
    name: "gate_texture",
    source: include_str!("../../../shaders/textures/gate_texture.wgsl"),
    threads: 256,
    bindings: &[load("input"), load("gates"), store("output")],
};

/// One launch: a grid-stride loop over the texels of the activation.
pub fn launch(shape: Shape) -> Launch {
    gate::launch(shape).by(&KERNEL)
}
