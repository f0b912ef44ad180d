//! The order in which nodes can run, and which of them the result needs.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, HashSet};

use super::proto::{Graph, Name};
use super::{operator, unreadable};
use resnet_wgpu::Error;

/// Who computes and who reads each value.
#[derive(Debug, Default)]
pub(super) struct Links<'a> {
    /// The node that computes a value.
    producers: HashMap<&'a str, usize>,
    /// The nodes that read a value, in the order of the file.
    consumers: HashMap<&'a str, Vec<usize>>,
}

impl<'a> Links<'a> {
    /// # Errors
    /// When two nodes compute the same value, or a node reads one that nothing provides. `given`
    /// are the inputs and the initialisers.
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
                // What a graph within the node computes itself is not known here.
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

    /// The nodes that `output` depends on, each after those that it reads, otherwise in the order of
    /// the file.
    ///
    /// # Errors
    /// When nodes read each other in a circle.
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
            // A node that waits need not be on the circle, but one of those that it waits for is.
            let mut seen = vec![false; graph.nodes.len()];
            while !std::mem::replace(&mut seen[index], true) {
                index = reads(index).find(|&i| waits_for[i] > 0).unwrap_or(index);
            }
            let reason = "it reads what it computes itself, in a circle".to_owned();
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

    /// Which nodes a value depends on; `order` is that of nodes that can run.
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

    /// The values that a value is computed from; none where nodes read each other in a circle.
    pub(super) fn sources<'g>(&self, graph: &'g Graph<'_>, output: &str) -> HashSet<&'g str> {
        let order = self.order(graph, output).unwrap_or_default();
        let reads = order
            .into_iter()
            .flat_map(|index| graph.nodes[index].reads());
        reads.map(|name| &**name).collect()
    }
}
