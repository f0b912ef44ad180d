//! The order in which nodes run, and which nodes the output depends on.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, HashSet};

use super::proto::{Graph, Name};
use super::{operator, unreadable};
use resnet_wgpu::Error;

/// The producer and the consumers of each value.
#[derive(Debug, Default)]
pub(super) struct Links<'a> {
    /// Index of the node that computes a value.
    producers: HashMap<&'a str, usize>,
    /// Indices of the nodes that read a value, in the order of the file.
    consumers: HashMap<&'a str, Vec<usize>>,
}

impl<'a> Links<'a> {
    /// # Errors
    /// If two nodes compute the same value, or a node reads a value that nothing provides. `given`
    /// accepts the names of inputs and initializers.
    pub(super) fn new(graph: &'a Graph<'_>, given: impl Fn(&str) -> bool) -> Result<Self, Error> {
        let mut links = Self::default();
        for (index, node) in graph.nodes.iter().enumerate() {
            for output in node.outputs.iter().filter(|output| !output.is_empty()) {
                if given(output) || links.producers.insert(output, index).is_some() {
                    let reason = format!("value '{output}' is computed twice");
                    return Err(operator(node, reason));
                }
            }
        }
        let known = |links: &Self, name: &str| given(name) || links.producers.contains_key(name);
        for (index, node) in graph.nodes.iter().enumerate() {
            for input in node.inputs.iter().filter(|input| !input.is_empty()) {
                if !known(&links, input) {
                    let reason =
                        format!("it reads '{input}', which is neither in the file nor computed");
                    return Err(operator(node, reason));
                }
            }
            for input in node.reads() {
                // An unknown name may be a value computed by a graph inside the node.
                if known(&links, input) {
                    links.consumers.entry(input).or_default().push(index);
                }
            }
        }
        Ok(links)
    }

    pub(super) fn consumers(&self, value: &str) -> &[usize] {
        self.consumers.get(value).map_or(&[], Vec::as_slice)
    }

    fn producers<'b>(
        &'b self,
        reads: impl Iterator<Item = &'b Name>,
    ) -> impl Iterator<Item = usize> {
        reads.filter_map(|input| self.producers.get(&**input).copied())
    }

    /// The nodes that `output` depends on, each after those that it reads, otherwise in the order
    /// of the file.
    ///
    /// # Errors
    /// If the nodes form a cycle.
    pub(super) fn order(&self, graph: &Graph<'_>, output: &str) -> Result<Vec<usize>, Error> {
        let reads = |index: usize| self.producers(graph.nodes[index].reads());
        let mut waits_for: Vec<usize> = (0..graph.nodes.len()).map(|i| reads(i).count()).collect();
        let ready = (0..graph.nodes.len()).filter(|&i| waits_for[i] == 0);
        let mut ready: BinaryHeap<Reverse<usize>> = ready.map(Reverse).collect();
        let mut order = Vec::new();
        while let Some(Reverse(index)) = ready.pop() {
            order.push(index);
            for output in &graph.nodes[index].outputs {
                for &consumer in self.consumers(output) {
                    waits_for[consumer] -= 1;
                    if waits_for[consumer] == 0 {
                        ready.push(Reverse(consumer));
                    }
                }
            }
        }
        if let Some(mut index) = waits_for.iter().position(|&left| left > 0) {
            // A waiting node need not be on the cycle, but following what it waits for leads there.
            let mut seen = vec![false; graph.nodes.len()];
            while !std::mem::replace(&mut seen[index], true) {
                index = reads(index).find(|&i| waits_for[i] > 0).unwrap_or(index);
            }
            let reason = "it depends on its own result, in a cycle".to_owned();
            return Err(operator(&graph.nodes[index], reason));
        }

        let needed = self.needed(graph, &order, output);
        order.retain(|&index| needed[index]);
        if order.is_empty() {
            return Err(unreadable(format!(
                "no node computes the output '{output}'"
            )));
        }
        Ok(order)
    }

    /// Which nodes a value depends on; `order` lists those that can run, sorted.
    fn needed(&self, graph: &Graph<'_>, order: &[usize], output: &str) -> Vec<bool> {
        let mut needed = vec![false; graph.nodes.len()];
        if let Some(&last) = self.producers.get(output) {
            needed[last] = true;
        }
        for &index in order.iter().rev() {
            if needed[index] {
                let reads = self.producers(graph.nodes[index].reads());
                reads.for_each(|producer| needed[producer] = true);
            }
        }
        needed
    }

    /// All values that a value is computed from; none if the nodes form a cycle.
    pub(super) fn sources<'g>(&self, graph: &'g Graph<'_>, output: &str) -> HashSet<&'g str> {
        let order = self.order(graph, output).unwrap_or_default();
        let reads = order
            .into_iter()
            .flat_map(|index| graph.nodes[index].reads());
        reads.map(|name| &**name).collect()
    }
}
