//! Convolution, batch norm or residual add → ReLU becomes that op with its `relu` flag set.

use super::{Fused, fuse_pairs};
use crate::error::Error;
use crate::graph::{Add, BatchNorm, Conv2d, Graph, Op, Relu};

pub(super) fn run(graph: &Graph) -> Result<Graph, Error> {
    fuse_pairs(graph, |rebuild, producer, consumer| {
        if consumer.op != Op::Relu(Relu) {
            return None;
        }
        let op = match producer.op {
            Op::Conv2d(conv) => Op::Conv2d(Conv2d { relu: true, ..conv }),
            Op::BatchNorm(norm) => Op::BatchNorm(BatchNorm { relu: true, ..norm }),
            Op::Add(_) => Op::Add(Add { relu: true }),
            _ => return None,
        };
        Some(Fused {
            op: rebuild.keep(op),
            inputs: producer.inputs.clone(),
        })
    })
}
