//! The oracle: every operation as naive loops with 64-bit accumulation.
//!
//! Runs a [`Graph`] on one tensor per graph input and returns [`Activations`]: the graph's outputs
//! alone, or all values. There is one file per operation, with the index letters of the shaders
//! (`n co ci oy ox iy ix ky kx`). It is written to be read and believed, not to be fast: ResNet-50
//! takes seconds. For speed see [`crate::cpu`].

mod add;
mod attention_pool;
mod avg_pool;
mod avg_pool_gradient;
mod batch_norm;
mod blur_pool;
mod channel_conv;
mod channel_dot;
mod class_gradient;
mod conv2d;
mod dilate;
mod flatten;
mod gate;
mod global_avg_pool;
mod group_norm;
mod heat_map;
mod image_to_tensor;
mod linear;
mod max_pool;
mod relu;
mod relu_gradient;
mod resize;
mod sigmoid;
mod softmax;
mod winograd;

use std::collections::HashMap;

pub use heat_map::heat_map;
pub use image_to_tensor::image_to_tensor;
pub use winograd::{winograd_bound, winograd_largest};

use crate::error::Error;
use crate::graph::{
    Add, AttentionPool, AvgPool, AvgPoolGradient, BlurPool, ChannelConv, ChannelDot, ClassGradient,
    Dilate, Flatten, Graph, Linear, MaxPool, Node, Op, Resize, ValueId,
};
use crate::host_memory;
use crate::tensor::Tensor;

/// Which values [`run_keeping`] returns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keep {
    /// The outputs of the graph; other values are freed after their last use.
    Outputs,
    /// Every value, inputs included.
    All,
}

/// The values of a run, by id.
#[derive(Clone, Debug, Default)]
pub struct Activations {
    values: HashMap<ValueId, Tensor>,
}

impl Activations {
    /// A value, if it was kept.
    pub fn get(&self, id: ValueId) -> Option<&Tensor> {
        self.values.get(&id)
    }

    /// Adds or replaces a value.
    pub(crate) fn insert(&mut self, id: ValueId, tensor: Tensor) {
        self.values.insert(id, tensor);
    }
}

/// Runs the graph and keeps its outputs.
///
/// # Errors
/// [`Error::Input`] if the inputs do not match the graph.
pub fn run(graph: &Graph, inputs: &[Tensor]) -> Result<Activations, Error> {
    run_keeping(graph, inputs, Keep::Outputs)
}

/// Runs the graph and keeps the requested values.
///
/// # Errors
/// [`Error::Memory`] if there is not enough to keep them, [`Error::Input`] if inputs do not match.
pub fn run_keeping(graph: &Graph, inputs: &[Tensor], keep: Keep) -> Result<Activations, Error> {
    check_inputs(graph, inputs)?;
    if keep == Keep::All {
        host_memory::check(&graph.batch_in_words(), graph.bytes())?;
    }
    // An output counts as one more use, so that it is never freed.
    let mut uses_left = graph.use_counts();
    let mut activations = Activations::default();
    for (&id, tensor) in graph.inputs().iter().zip(inputs) {
        activations.insert(id, tensor.clone());
    }
    for node in graph.nodes() {
        let read: Vec<&Tensor> = node
            .inputs
            .iter()
            .map(|id| &activations.values[id])
            .collect();
        let output = run_node(graph, node, &read)?;
        activations.insert(node.output, output);
        for id in &node.inputs {
            uses_left[id.0] -= 1;
            if keep == Keep::Outputs && uses_left[id.0] == 0 {
                activations.values.remove(id);
            }
        }
    }
    if keep == Keep::Outputs {
        activations
            .values
            .retain(|id, _| graph.outputs().contains(id));
    }
    Ok(activations)
}

/// Checks that there is one tensor per graph input, each of that input's shape.
pub(crate) fn check_inputs(graph: &Graph, inputs: &[Tensor]) -> Result<(), Error> {
    if inputs.len() != graph.inputs().len() {
        return Err(Error::Input {
            expected: format!("{} tensors", graph.inputs().len()),
            got: inputs.len().to_string(),
        });
    }
    for (&id, tensor) in graph.inputs().iter().zip(inputs) {
        if tensor.dims() != graph.shape(id).dims() {
            return Err(Error::Input {
                expected: graph.shape(id).to_string(),
                got: format!("{:?}", tensor.dims()),
            });
        }
    }
    Ok(())
}

/// The result of one node.
pub(crate) fn run_node(graph: &Graph, node: &Node, inputs: &[&Tensor]) -> Result<Tensor, Error> {
    let out = graph.shape(node.output);
    let x = inputs[0];
    match node.op {
        Op::Conv2d(conv) => {
            let weight = graph.tensor(conv.weight);
            let bias = conv.bias.map(|id| graph.tensor(id));
            conv2d::conv2d(&conv, x, weight, bias, inputs.get(1).copied(), out)
        }
        Op::BatchNorm(norm) => {
            let params = [norm.gamma, norm.beta, norm.mean, norm.variance];
            batch_norm::batch_norm(&norm, x, params.map(|id| graph.tensor(id)), out)
        }
        Op::Relu(_) => relu::relu(x, out),
        Op::Add(Add { relu }) => add::add(x, inputs[1], relu, out),
        Op::MaxPool(MaxPool { window, pad_value }) => {
            max_pool::max_pool(&window, pad_value, x, out)
        }
        Op::AvgPool(AvgPool {
            window,
            count_padding,
        }) => avg_pool::avg_pool(&window, count_padding, x, out),
        Op::BlurPool(BlurPool { stride }) => blur_pool::blur_pool(stride, x, out),
        Op::Resize(Resize { interpolation, .. }) => resize::resize(interpolation, x, out),
        Op::GlobalAvgPool(_) => global_avg_pool::global_avg_pool(x, out),
        Op::Flatten(Flatten { order }) => flatten::flatten(order, x, out),
        Op::Linear(Linear { weight, bias }) => {
            let bias = bias.map(|id| graph.tensor(id));
            linear::linear(x, graph.tensor(weight), bias, out)
        }
        Op::Softmax(_) => softmax::softmax(x, out),
        Op::Sigmoid(_) => sigmoid::sigmoid(x, out),
        Op::GroupNorm(norm) => {
            let params = [norm.gamma, norm.beta].map(|id| graph.tensor(id));
            group_norm::group_norm(&norm, x, params, out)
        }
        Op::ChannelConv(ChannelConv { weight }) => {
            channel_conv::channel_conv(x, graph.tensor(weight), out)
        }
        Op::Gate(_) => gate::gate(x, inputs[1], out),
        Op::AttentionPool(AttentionPool { positions }) => {
            attention_pool::attention_pool(x, inputs[1], graph.tensor(positions), out)
        }
        Op::ClassGradient(ClassGradient { weight, class }) => {
            let [weight, class] = [weight, class].map(|id| graph.tensor(id));
            class_gradient::class_gradient(x, weight, class, out)
        }
        Op::ReluGradient(_) => relu_gradient::relu_gradient(x, inputs[1], out),
        Op::AvgPoolGradient(AvgPoolGradient { window, .. }) => {
            avg_pool_gradient::avg_pool_gradient(&window, x, out)
        }
        Op::Dilate(Dilate { stride, .. }) => dilate::dilate(stride, x, out),
        Op::ChannelDot(ChannelDot { positive }) => {
            channel_dot::channel_dot(positive, x, inputs[1], out)
        }
    }
}

/// The oracle rounds only once, when a result is stored.
#[expect(
    clippy::cast_possible_truncation,
    reason = "activations are stored as 32-bit floats"
)]
pub(crate) fn round(value: f64) -> f32 {
    value as f32
}

/// The ReLU of a sum; NaN stays NaN, which `max` would drop.
pub(crate) fn clamped(value: f64) -> f64 {
    if value < 0.0 { 0.0 } else { value }
}

/// The row or column of the image at a window position; `None` in the padding.
pub(crate) fn inside(position: usize, padding: usize, size: usize) -> Option<usize> {
    position.checked_sub(padding).filter(|&i| i < size)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::{Conv2d, Padding, Relu};
    use crate::tensor::Shape;

    /// Runs one node on one input and returns the data of its result.
    pub(super) fn run_op(graph: &mut Graph, op: Op, shape: Shape, x: &[f32]) -> Vec<f32> {
        let id = graph.input("x", shape).unwrap();
        let y = graph.add("y", op, &[id]).unwrap();
        graph.mark_output(y).unwrap();
        let x = Tensor::new(&shape.dims(), x).unwrap();
        let activations = run(graph, &[x]).unwrap();
        activations.get(y).unwrap().data().to_vec()
    }

    fn two_relus() -> (Graph, [ValueId; 3]) {
        let mut graph = Graph::new();
        let x = graph.input("x", Shape::new(1, 1, 1, 2)).unwrap();
        let y = graph.add("y", Op::Relu(Relu), &[x]).unwrap();
        let z = graph.add("z", Op::Relu(Relu), &[y]).unwrap();
        graph.mark_output(z).unwrap();
        (graph, [x, y, z])
    }

    #[test]
    fn only_outputs_are_kept_unless_all_values_are_asked_for() {
        let (graph, [x, y, z]) = two_relus();
        let input = Tensor::new(&[1, 1, 1, 2], vec![-1.0, 2.0]).unwrap();
        let few = run(&graph, std::slice::from_ref(&input)).unwrap();
        assert!(few.get(x).is_none() && few.get(y).is_none(), "freed");
        assert_eq!(few.get(z).unwrap().data(), [0.0, 2.0], "output");
        let all = run_keeping(&graph, &[input], Keep::All).unwrap();
        assert_eq!(all.get(x).unwrap().data(), [-1.0, 2.0], "input");
        assert_eq!(all.get(y).unwrap().data(), [0.0, 2.0], "between");
    }

    #[test]
    fn an_input_that_is_an_output_is_kept() {
        let (mut graph, [x, ..]) = two_relus();
        graph.mark_output(x).unwrap();
        let input = Tensor::new(&[1, 1, 1, 2], vec![-1.0, 2.0]).unwrap();
        let kept = run(&graph, &[input]).unwrap();
        assert_eq!(kept.get(x).unwrap().data(), [-1.0, 2.0], "input");
    }

    #[test]
    fn inputs_of_the_wrong_number_or_shape_are_refused() {
        let (graph, _) = two_relus();
        assert!(matches!(run(&graph, &[]), Err(Error::Input { .. })), "none");
        let wide = Tensor::new(&[1, 1, 2, 1], vec![0.0; 2]).unwrap();
        assert!(
            matches!(run(&graph, &[wide]), Err(Error::Input { .. })),
            "transposed"
        );
    }

    #[test]
    fn the_oracle_accumulates_beyond_32_bits() {
        // 2^24 + 1 - 2^24: in 32 bits the 1 is lost.
        let mut graph = Graph::new();
        let weight = graph.param("w", Tensor::new(&[1, 3, 1, 1], vec![1.0; 3]).unwrap());
        let conv = Conv2d {
            padding: Padding::default(),
            ..Conv2d::new(weight)
        };
        let big = 16_777_216.0;
        let y = run_op(
            &mut graph,
            Op::Conv2d(conv),
            Shape::new(1, 3, 1, 1),
            &[big, 1.0, -big],
        );
        assert_eq!(y, [1.0], "the small term survives");
    }
}
