//! The back end on folded textures: subgroups of a known number of lanes, made for software Vulkan.
//!
//! A texel fetch costs llvmpipe a tenth of a load from a storage buffer. Operations without a
//! kernel here run on buffers, in single precision.

use super::buffers::Buffers;
use super::candidate::{Candidate, ConvShape};
use super::capabilities::Capabilities;
use super::lower::{BackEnd, Bound, Lowered, Native, Operand, Representation};
use super::options::PlanOptions;
use crate::graph::{Graph, Linear, Node, Op};
use crate::kernels::textures::{
    avg_pool_texture, conv2d_texture, gate_texture, global_avg_pool_texture,
    image_to_tensor_texture, linear_texture, max_pool_texture, relu_gradient_texture,
    residual_add_texture, tensor_to_texture, texture_to_tensor,
};
use crate::kernels::{Launch, Precision, Storage};
use crate::picture::Normalization;
use crate::tensor::Shape;

mod convolution;
mod defaults;

pub use convolution::OnTextures;

/// The kernels on textures.
pub(super) struct Textures<'a> {
    options: &'a PlanOptions,
    tiles: defaults::Tiles,
    /// The back end that runs the other operations.
    buffers: Buffers<'a>,
}

impl<'a> Textures<'a> {
    /// Creates the back end, or says why the device cannot run it.
    pub(super) fn new(options: &'a PlanOptions) -> Result<Self, String> {
        let lanes = lanes(&options.capabilities)?;
        let conversions = [
            &tensor_to_texture::KERNEL,
            &texture_to_tensor::KERNEL,
            &image_to_tensor_texture::KERNEL,
        ];
        if let Some(wrong) = conversions
            .iter()
            .find(|kernel| !options.trusts(kernel.name))
        {
            return Err(format!(
                "the kernel '{}' computes wrongly on this device",
                wrong.name
            ));
        }
        Ok(Self {
            options,
            tiles: defaults::Tiles::of(lanes, options.capabilities.llvmpipe),
            buffers: Buffers::new(options, Precision::F32),
        })
    }
}

/// The lanes of the device's subgroups, or the reason why it cannot run these kernels.
pub(super) fn lanes(device: &Capabilities) -> Result<u32, String> {
    if device.immediate_bytes < conv2d_texture::IMMEDIATE_BYTES {
        return Err(format!(
            "it needs {} bytes of immediates, the device has {}",
            conv2d_texture::IMMEDIATE_BYTES,
            device.immediate_bytes
        ));
    }
    if !device.read_write_textures {
        return Err("it needs storage textures that are read and written".to_owned());
    }
    let has = match device.subgroup_lanes {
        Some([min, max]) if min == max && conv2d_texture::SUBGROUPS.contains(&min) => {
            return Ok(min);
        }
        Some([min, max]) if min == max => min.to_string(),
        Some([min, max]) => format!("{min} to {max}"),
        None => "none".to_owned(),
    };
    let [first, second, third] = conv2d_texture::SUBGROUPS;
    Err(format!(
        "it needs subgroups of {first}, {second} or {third} lanes, the device has {has}"
    ))
}

impl BackEnd for Textures<'_> {
    fn native(&self) -> Native {
        Native {
            storage: Storage::Texture,
            precision: self.options.precision,
        }
    }

    fn lower(&self, graph: &Graph, node: &Node) -> Lowered {
        use Representation::{Native, Plain};
        let x = graph.shape(node.inputs[0]);
        let y = graph.shape(node.output);
        let maps = [Native; 2];
        let (from_to, bound) = match &node.op {
            Op::Conv2d(conv) if conv.groups == 1 => {
                let lowered = self.convolution(graph, node, conv);
                return if lowered.candidate.is_some_and(|c| !self.options.trusts(c)) {
                    self.buffers.lower(graph, node)
                } else {
                    lowered
                };
            }
            Op::Add(add) => {
                let launch = residual_add_texture::launch(x, add.relu);
                (maps, Bound::binary(launch))
            }
            Op::MaxPool(pool) => {
                let launch = max_pool_texture::launch(x, y, &pool.window, pool.pad_value);
                (maps, Bound::unary(launch))
            }
            Op::AvgPool(pool) => {
                let launch = avg_pool_texture::launch(x, y, &pool.window, pool.count_padding);
                (maps, Bound::unary(launch))
            }
            Op::GlobalAvgPool(_) => (maps, Bound::unary(global_avg_pool_texture::launch(x))),
            Op::Gate(_) => (maps, Bound::binary(gate_texture::launch(x))),
            Op::Linear(layer) => ([Native, Plain], bind_linear(graph, [x, y], layer)),
            Op::ReluGradient(_) => (maps, Bound::binary(relu_gradient_texture::launch(x))),
            Op::Conv2d(_)
            | Op::BatchNorm(_)
            | Op::GroupNorm(_)
            | Op::ChannelConv(_)
            | Op::AttentionPool(_)
            | Op::BlurPool(_)
            | Op::Resize(_)
            | Op::Relu(_)
            | Op::Flatten(_)
            | Op::Softmax(_)
            | Op::Sigmoid(_)
            | Op::ClassGradient(_)
            | Op::AvgPoolGradient(_)
            | Op::Dilate(_)
            | Op::ChannelDot(_) => return self.buffers.lower(graph, node),
        };
        if !self.options.trusts(bound.launch.kernel.name) {
            return self.buffers.lower(graph, node);
        }
        Lowered::single(from_to, self.options.precision, bound)
    }

    fn pixels(&self, to: Representation, shape: Shape, how: &Normalization) -> Launch {
        match to {
            Representation::Plain => self.buffers.pixels(to, shape, how),
            Representation::Native => {
                image_to_tensor_texture::launch(shape, how).storing(self.options.precision)
            }
        }
    }

    fn convert(&self, to: Representation, shape: Shape) -> Launch {
        let launch = match to {
            Representation::Plain => texture_to_tensor::launch(shape),
            Representation::Native => tensor_to_texture::launch(shape),
        };
        launch.storing(self.options.precision)
    }

    fn candidates(&self, shape: &ConvShape) -> Vec<Candidate> {
        if shape.geometry().groups > 1 {
            return self.buffers.candidates(shape);
        }
        let algorithms = self.algorithms(shape.geometry());
        algorithms.into_iter().map(Candidate::Textures).collect()
    }
}

fn bind_linear(graph: &Graph, [x, y]: [Shape; 2], layer: &Linear) -> Bound {
    let weight = conv2d_texture::packing(
        graph.tensor(layer.weight),
        layer.bias.map(|bias| graph.tensor(bias)),
        linear_texture::TILE_CO,
    );
    let operands = [Operand::Input(0), Operand::Parameters(0), Operand::Output];
    Bound::new(linear_texture::launch(x, y), [("weight", weight)], operands)
}
