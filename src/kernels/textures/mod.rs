//! Kernels on folded storage textures, for software Vulkan, where a texel fetch costs a tenth of a
//! load from a storage buffer.
//!
//! They have their own folders, here and under `shaders/`; a kernel with a counterpart on buffers
//! is named after it.

pub mod avg_pool_texture;
pub mod conv2d_quad;
pub mod conv2d_texture;
pub mod gate_texture;
pub mod global_avg_pool_texture;
pub mod image_to_tensor_texture;
pub mod linear_texture;
pub mod max_pool_texture;
pub mod relu_gradient_texture;
pub mod residual_add_texture;
pub mod similarity_texture;
pub mod tensor_to_texture;
pub mod texture_to_tensor;
pub mod winograd_input_texture;
pub mod winograd_output_texture;
