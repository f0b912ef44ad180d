//! An input without an image: random numbers, always the same.

use resnet_wgpu::tensor::{Shape, Tensor};

/// Numbers between −1 and 1 by xorshift (Marsaglia 2003), about the range of a normalised image.
pub(crate) fn random(shape: Shape) -> Tensor {
    let mut state = 0x9e37_79b9_7f4a_7c15u64;
    Tensor::from_fn(&shape.dims(), |_| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        // The upper 16 bits, which an f32 holds exactly.
        let [.., low, high] = state.to_le_bytes();
        f32::from(u16::from_le_bytes([low, high])) / 32_768.0 - 1.0
    })
}
