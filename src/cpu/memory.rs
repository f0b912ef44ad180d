//! Assigns values to buffers: values that are never needed at the same time may share one.

use crate::graph::{Graph, ValueId};

use super::layout::Layout;

/// The buffers of a graph.
#[derive(Debug)]
pub(super) struct Assignment {
    /// The index of each value's buffer.
    buffer: Vec<usize>,
    /// The number of lines in each buffer.
    lines: Vec<usize>,
}

impl Assignment {
    /// Goes through the nodes and assigns each result the free buffer that fits best.
    pub(super) fn new(graph: &Graph) -> Self {
        let mut uses_left = graph.use_counts();
        let mut assignment = Self {
            buffer: vec![usize::MAX; uses_left.len()],
            lines: Vec::new(),
        };
        let mut free: Vec<usize> = Vec::new();
        for &input in graph.inputs() {
            assignment.assign(graph, input, &mut free);
        }
        for node in graph.nodes() {
            assignment.assign(graph, node.output, &mut free);
            for input in &node.inputs {
                uses_left[input.0] -= 1;
                if uses_left[input.0] == 0 {
                    free.push(assignment.buffer[input.0]);
                }
            }
            // Nothing reads this result.
            if uses_left[node.output.0] == 0 {
                free.push(assignment.buffer[node.output.0]);
            }
        }
        assignment
    }

    fn assign(&mut self, graph: &Graph, value: ValueId, free: &mut Vec<usize>) {
        let lines = Layout::new(graph.shape(value)).lines();
        // The smallest that is large enough, otherwise the largest, which is then enlarged.
        let best = (0..free.len()).min_by_key(|&i| {
            let have = self.lines[free[i]];
            (have < lines, have.abs_diff(lines))
        });
        let buffer = match best {
            Some(i) => free.swap_remove(i),
            None => {
                self.lines.push(0);
                self.lines.len() - 1
            }
        };
        self.lines[buffer] = self.lines[buffer].max(lines);
        self.buffer[value.0] = buffer;
    }

    /// The buffer of a value.
    pub(super) fn buffer(&self, value: ValueId) -> usize {
        self.buffer[value.0]
    }

    /// The number of lines in each buffer.
    pub(super) fn lines(&self) -> &[usize] {
        &self.lines
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::{Add, Op, Relu};
    use crate::tensor::Shape;

    #[test]
    fn a_chain_needs_two_buffers_and_a_kept_value_one_more() {
        let mut graph = Graph::new();
        let mut value = graph.input("x", Shape::new(1, 4, 2, 2)).unwrap();
        let first = value;
        for name in ["a", "b", "c", "d"] {
            value = graph.add(name, Op::Relu(Relu), &[value]).unwrap();
        }
        graph.mark_output(value).unwrap();
        assert_eq!(Assignment::new(&graph).lines().len(), 2, "ping and pong");
        let sum = graph.add("sum", Op::Add(Add { relu: false }), &[value, first]);
        graph.mark_output(sum.unwrap()).unwrap();
        let assignment = Assignment::new(&graph);
        for (id, _) in graph.values().skip(1) {
            assert_ne!(
                assignment.buffer(id),
                assignment.buffer(first),
                "the input lives until the sum"
            );
        }
    }
}
