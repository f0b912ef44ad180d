//! Graphs of files that list their layers, as networks.

use resnet_wgpu::Error;
use resnet_wgpu::graph::{
    AvgPool, Flatten, FlattenOrder, Graph, Linear, MaxPool, Op, PadValue, ParamId, Statistics,
    ValueId,
};
use resnet_wgpu::internals::network::{Draft, Facts, Operation, PaddingRule};
use resnet_wgpu::network::{ModelOptions, Network};

/// The network of a graph whose padding is that of one size.
pub(crate) fn network(
    graph: &Graph,
    logits: ValueId,
    facts: Facts,
    options: &ModelOptions,
) -> Result<Network, Error> {
    let input = graph.inputs()[0];
    let shape = graph.get(input)?.shape;
    let mut draft = Draft::new(&graph.get(input)?.name, [shape.h, shape.w])?;
    for param in graph.params() {
        draft.tensor(&param.name, param.tensor.clone())?;
    }
    for node in graph.nodes() {
        let inputs: Result<Vec<ValueId>, Error> = node
            .inputs
            .iter()
            .map(|&id| draft.graph().find(&graph.get(id)?.name))
            .collect();
        draft.add(&node.name, operation(graph, node.op)?, &inputs?)?;
    }
    let logits = draft.graph().find(&graph.get(logits)?.name)?;
    let ends = draft.ends(logits);
    let (blueprint, tensors) = draft.finish(ends);
    Network::new((blueprint.of_one_size(), tensors), facts, options)
}

fn operation(graph: &Graph, op: Op) -> Result<Operation, Error> {
    let name = |id: ParamId| Ok::<_, Error>(graph.get_param(id)?.name.clone());
    Ok(match op {
        Op::Conv2d(conv) => Operation::Conv2d {
            weight: name(conv.weight)?,
            bias: conv.bias.map(name).transpose()?,
            stride: conv.stride,
            padding: PaddingRule::fixed(conv.padding),
            groups: conv.groups,
        },
        Op::BatchNorm(norm) => Operation::BatchNorm {
            gamma: name(norm.gamma)?,
            beta: name(norm.beta)?,
            mean: name(norm.mean)?,
            variance: name(norm.variance)?,
            epsilon: norm.epsilon,
            of_batch: norm.statistics == Statistics::Batch,
        },
        Op::Add(_) => Operation::Add,
        Op::MaxPool(MaxPool { window, pad_value }) => Operation::MaxPool {
            kernel: window.kernel,
            stride: window.stride,
            padding: PaddingRule::fixed(window.padding),
            zeros: pad_value == PadValue::Zero,
        },
        Op::AvgPool(AvgPool {
            window,
            count_padding,
        }) => Operation::AvgPool {
            kernel: window.kernel,
            stride: window.stride,
            padding: PaddingRule::fixed(window.padding),
            count_padding,
        },
        Op::GlobalAvgPool(_) => Operation::GlobalAvgPool,
        Op::Flatten(Flatten { order }) => Operation::Flatten {
            channels_last: order == FlattenOrder::Hwc,
        },
        Op::Linear(Linear { weight, bias }) => Operation::Linear {
            weight: name(weight)?,
            bias: bias.map(name).transpose()?,
        },
        // The readers add no other.
        _ => Operation::Relu,
    })
}
