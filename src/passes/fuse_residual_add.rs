//! Merges a residual add into the convolution before it, whose second input is the other summand.

use super::{Fused, fuse_pairs};
use crate::error::Error;
use crate::graph::{Add, Conv2d, Graph, Op};

pub(super) fn run(graph: &Graph) -> Result<Graph, Error> {
    fuse_pairs(graph, |rebuild, producer, consumer| {
        let (Op::Conv2d(conv), Op::Add(Add { relu })) = (producer.op, consumer.op) else {
            return None;
        };
        // The epilogue adds a single residual, and applies the ReLU after that.
        if conv.relu || producer.inputs.len() > 1 {
            return None;
        }
        let residual = *consumer.inputs.iter().find(|&&v| v != producer.output)?;
        let op = rebuild.keep(Op::Conv2d(Conv2d { relu, ..conv }));
        Some(Fused {
            op,
            inputs: vec![producer.inputs[0], residual],
        })
    })
}
