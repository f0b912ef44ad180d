//! Projections that may be computed along with the convolution that their result is added to.

use crate::graph::{Conv2d, Graph, Node, Op, Padding};

/// The projection whose result is the residual of a convolution, if the two may be one: both are 1×1 convolutions
/// without padding, the second one without a stride, and nothing else reads the result of the first.
pub(crate) fn projection_of<'g>(graph: &'g Graph, node: &Node) -> Option<(&'g Node, &'g Conv2d)> {
    let &[_, residual] = &node.inputs[..] else {
        return None;
    };
    pointwise(graph, node).filter(|conv| conv.stride == [1, 1])?;
    let mut nodes = graph.nodes().iter();
    let producer = nodes.find(|other| other.output == residual)?;
    let conv = pointwise(graph, producer)?;
    let is_plain = !conv.relu && producer.inputs.len() == 1;
    (is_plain && graph.use_counts()[residual.0] == 1).then_some((producer, conv))
}

/// The operation of a node that is a 1×1 convolution without padding.
fn pointwise<'n>(graph: &Graph, node: &'n Node) -> Option<&'n Conv2d> {
    match &node.op {
        Op::Conv2d(conv) => {
            let is_single = graph.tensor(conv.weight).dims()[2..] == [1, 1];
            let is_pointwise = is_single && conv.padding == Padding::all(0) && conv.groups == 1;
            is_pointwise.then_some(conv)
        }
        _ => None,
    }
}
