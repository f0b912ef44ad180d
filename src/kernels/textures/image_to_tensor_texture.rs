//! Converts RGBA8 pixels to the normalised input tensor, in a texture.

use crate::kernels::{Kernel, Launch, image_to_tensor, read_single, store};
use crate::picture::Normalization;
use crate::tensor::Shape;

/// `shaders/textures/image_to_tensor_texture.wgsl`.
pub static KERNEL: Kernel = Kernel {
    name: "image_to_tensor_texture",
    source: include_str!("../../../shaders/textures/image_to_tensor_texture.wgsl"),
    threads: 256,
    bindings: &[read_single("pixels"), store("output")],
};

/// One launch: a grid-stride loop over the pixels of the batch.
pub fn launch(output: Shape, normalization: &Normalization) -> Launch {
    image_to_tensor::launch(output, normalization).by(&KERNEL)
}
