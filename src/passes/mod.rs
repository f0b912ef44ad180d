//! Rewrites a graph into one with fewer, larger operations and the same outputs.
//!
//! Each pass is one pattern of two neighbouring nodes. A pair is only fused if nothing else reads
//! the value between them: outputs of the graph, taps included, are never fused away.

use std::collections::HashMap;

use crate::error::Error;
use crate::graph::{Graph, Node, Op, ParamId, ValueId};
use crate::words::words;

mod fold_batch_norm;
mod fuse_relu;
mod fuse_residual_add;

/// How far neighbouring operations are merged before they are planned.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Fusion {
    /// Every node is its own dispatch.
    None,
    /// ReLU joins the batch norm or the addition before it: conv → batch norm + ReLU → … → residual
    /// add + ReLU, as in the classic lesson.
    Layers,
    /// Batch norm is folded into the convolution; residual add and ReLU run in its epilogue.
    #[default]
    Full,
}

words!(Fusion { None = "none", Layers = "layers", Full = "full" });

/// Runs the passes of a fusion level, in order.
///
/// # Errors
/// Only if a rewritten node fails the graph's own checks, which cannot happen to a graph built
/// through [`Graph::add`].
pub fn optimize(graph: &Graph, fusion: Fusion) -> Result<Graph, Error> {
    match fusion {
        Fusion::None => Ok(graph.clone()),
        Fusion::Layers => fuse_relu::run(graph),
        Fusion::Full => {
            let graph = fold_batch_norm::run(graph)?;
            // The addition is fused first, so that the ReLU after it can join the same convolution.
            let graph = fuse_residual_add::run(&graph)?;
            fuse_relu::run(&graph)
        }
    }
}

/// What replaces a pair of nodes: an operation with parameters of the new graph, and inputs that
/// are values of the old graph.
struct Fused {
    op: Op,
    inputs: Vec<ValueId>,
}

/// Rebuilds a graph, replacing pairs (producer, consumer) by what `fuse` returns for them.
///
/// The replacement takes the consumer's place in the order, the producer's name (that of the layer
/// with the weights), and the name of the consumer's result.
fn fuse_pairs(
    old: &Graph,
    fuse: impl Fn(&mut Rebuild<'_>, &Node, &Node) -> Option<Fused>,
) -> Result<Graph, Error> {
    let uses = old.use_counts();
    let producers: HashMap<ValueId, usize> = old
        .nodes()
        .iter()
        .enumerate()
        .map(|(i, n)| (n.output, i))
        .collect();

    let mut rebuild = Rebuild::new(old)?;
    // Decide first, so that a producer that will be absorbed is skipped.
    let mut absorbed = vec![false; old.nodes().len()];
    let mut replacements: HashMap<usize, (usize, Fused)> = HashMap::new();
    for (index, consumer) in old.nodes().iter().enumerate() {
        // Strided convolutions are the last choice: if the other summand absorbs the addition, no
        // kernel with a window needs a variant with a residual. Otherwise the producer that runs
        // last is preferred.
        let mut candidates: Vec<usize> = consumer
            .inputs
            .iter()
            .filter(|&&value| uses[value.0] == 1)
            .filter_map(|value| producers.get(value).copied())
            .collect();
        candidates.sort_unstable_by_key(|&index| (!strides(&old.nodes()[index]), index));
        for producer in candidates.into_iter().rev() {
            if absorbed[producer] || replacements.contains_key(&producer) {
                continue;
            }
            if let Some(fused) = fuse(&mut rebuild, &old.nodes()[producer], consumer) {
                absorbed[producer] = true;
                replacements.insert(index, (producer, fused));
                break;
            }
        }
    }

    for (index, node) in old.nodes().iter().enumerate() {
        if absorbed[index] {
            continue;
        }
        match replacements.remove(&index) {
            Some((producer, fused)) => {
                let producer = &old.nodes()[producer];
                rebuild.emit(&producer.name, node.output, fused.op, &fused.inputs)?;
            }
            None => {
                let op = rebuild.keep(node.op);
                rebuild.emit(&node.name, node.output, op, &node.inputs)?;
            }
        }
    }
    rebuild.finish()
}

/// Whether a node is a strided convolution.
fn strides(node: &Node) -> bool {
    matches!(node.op, Op::Conv2d(conv) if conv.stride != [1, 1])
}

/// A graph under construction, and how the values of the old one map to it.
struct Rebuild<'a> {
    old: &'a Graph,
    new: Graph,
    values: HashMap<ValueId, ValueId>,
    params: HashMap<ParamId, ParamId>,
}

impl<'a> Rebuild<'a> {
    fn new(old: &'a Graph) -> Result<Self, Error> {
        let mut new = Graph::new();
        let mut values = HashMap::new();
        for &input in old.inputs() {
            let value = old.value(input);
            values.insert(input, new.input(&value.name, value.shape)?);
        }
        Ok(Self {
            old,
            new,
            values,
            params: HashMap::new(),
        })
    }

    /// Copies the parameters of an operation to the new graph.
    fn keep(&mut self, op: Op) -> Op {
        op.map_params(|param| {
            *self.params.entry(param).or_insert_with(|| {
                let old = &self.old.params()[param.0];
                self.new.param(old.name.clone(), old.tensor.clone())
            })
        })
    }

    fn emit(
        &mut self,
        name: &str,
        old_output: ValueId,
        op: Op,
        inputs: &[ValueId],
    ) -> Result<(), Error> {
        let inputs: Vec<ValueId> = inputs.iter().map(|v| self.values[v]).collect();
        let value_name = &self.old.value(old_output).name;
        let output = self.new.add_fused(name, value_name, op, &inputs)?;
        self.values.insert(old_output, output);
        Ok(())
    }

    fn finish(mut self) -> Result<Graph, Error> {
        for output in self.old.outputs() {
            self.new.mark_output(self.values[output])?;
        }
        // A value that was fused away has lost its role.
        for (role, value) in self.old.roles() {
            if let Some(&value) = self.values.get(&value) {
                self.new.set_role(role, value)?;
            }
        }
        Ok(self.new)
    }
}
