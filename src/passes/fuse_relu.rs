//! Merges a ReLU into the convolution, batch norm or residual add before it, as its `relu` flag.

use super::{Fused, fuse_pairs};
use crate::error::Error;
use crate::graph::{Graph, Op, Relu};

pub(super) fn run(graph: &Graph) -> Result<Graph, Error> {
    fuse_pairs(graph, |rebuild, producer, consumer| {
        if consumer.op != Op::Relu(Relu) {
            return None;
        }
        let op = producer.op.as_operation().clamped()?;
        Some(Fused {
            op: rebuild.keep(op),
            inputs: producer.inputs.clone(),
        })
    })
}
