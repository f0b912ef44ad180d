//! Where the stages of a residual network end, whatever described it.

use crate::graph::{Graph, Op, ValueId};

/// The results of the stages, found from the additions: blocks that follow each other and give
/// equally many channels are a stage.
///
/// Only additions that all data pass through end a block; those between the branches of a selective
/// kernel have a shortcut beside them. A ReLU right after the addition belongs to the block.
pub(super) fn stages(graph: &Graph) -> Vec<ValueId> {
    let nodes = graph.nodes();
    let mut read_until = vec![0; graph.values().len()];
    for (index, node) in nodes.iter().enumerate() {
        for input in &node.inputs {
            read_until[input.0] = index;
        }
    }
    let mut stages: Vec<ValueId> = Vec::new();
    let mut added = None;
    let mut beside = read_until[graph.inputs()[0].0];
    for (index, node) in nodes.iter().enumerate() {
        let result = node.output;
        let ends_block = match node.op {
            Op::Add(_) => {
                added = Some(result);
                true
            }
            _ => matches!(node.op, Op::Relu(_)) && added == Some(node.inputs[0]),
        };
        if ends_block && beside <= index {
            let channels = graph.shape(result).c;
            match stages
                .last_mut()
                .filter(|last| graph.shape(**last).c == channels)
            {
                Some(last) => *last = result,
                None => stages.push(result),
            }
        }
        beside = beside.max(read_until[result.0]);
    }
    stages
}
