//! A graph that is ready to run, on any device: it takes a tensor or pictures, and returns the
//! graph's outputs.
//!
//! A program that uses whatever it finds holds a `Box<dyn Engine>`: a [`Session`] if there is an
//! adapter, a `CpuExecutor` if there is none.

use std::fmt;

#[cfg(feature = "cpu")]
pub use crate::cpu::CpuExecutor;

use crate::error::Error;
use crate::gpu::Session;
use crate::graph::Role;
use crate::tensor::{Shape, Tensor};
#[cfg(feature = "image")]
use crate::{answer, picture::Batch, plan::InputFormat};
#[cfg(feature = "cpu")]
use crate::{graph::Graph, graph::ValueId, reference};

/// One of the outputs of a run.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct EngineOutput<'a> {
    /// Its name in the graph.
    pub name: &'a str,
    /// Its roles.
    pub roles: Vec<Role>,
    /// Its shape.
    pub shape: Shape,
}

/// A graph with one input that is ready to run.
pub trait Engine: fmt::Debug {
    /// The outputs of a run, in order.
    fn outputs(&self) -> Vec<EngineOutput<'_>>;

    /// Runs on an NCHW tensor and waits for the outputs, NCHW.
    ///
    /// Results are returned as computed, even if they are NaN.
    ///
    /// # Errors
    /// [`Error::Input`] if the tensor has the wrong shape, [`Error::Gpu`] if the device fails.
    fn run(&self, input: &Tensor) -> Result<Vec<Tensor>, Error>;

    /// Runs on pictures and waits for the outputs.
    ///
    /// # Errors
    /// As [`Engine::run`].
    #[cfg(feature = "image")]
    fn run_pictures(&self, batch: &Batch) -> Result<Vec<Tensor>, Error> {
        self.run(&batch.tensor())
    }

    /// Runs on pictures and checks that the outputs make sense.
    ///
    /// # Errors
    /// As [`Engine::run`], and [`Error::NoAnswer`] if numbers are not finite, or if probabilities
    /// neither sum to one nor are the sigmoids of the scores.
    #[cfg(feature = "image")]
    fn answer(&self, batch: &Batch) -> Result<Vec<Tensor>, Error> {
        let tensors = self.run_pictures(batch)?;
        let outputs = self.outputs();
        let values = outputs.iter().zip(&tensors);
        let values = values.map(|(output, tensor)| answer::Values {
            output: output.name,
            roles: &output.roles,
            tensor,
        });
        answer::check(&values.collect::<Vec<_>>())?;
        Ok(tensors)
    }
}

impl Engine for Session {
    fn outputs(&self) -> Vec<EngineOutput<'_>> {
        let outputs = self.executor().outputs().iter();
        outputs
            .map(|output| EngineOutput {
                name: &output.name,
                roles: output.roles.clone(),
                shape: output.shape,
            })
            .collect()
    }

    fn run(&self, input: &Tensor) -> Result<Vec<Tensor>, Error> {
        Self::run(self, input)
    }

    /// Uploads pixels if the plan takes pixels.
    #[cfg(feature = "image")]
    fn run_pictures(&self, batch: &Batch) -> Result<Vec<Tensor>, Error> {
        match self.executor().input_format() {
            InputFormat::Tensor => Self::run(self, &batch.tensor()),
            InputFormat::Rgba8(_) => self.run_pixels(batch.rgba()),
        }
    }
}

#[cfg(feature = "cpu")]
impl Engine for CpuExecutor {
    fn outputs(&self) -> Vec<EngineOutput<'_>> {
        outputs(self.graph())
    }

    fn run(&self, input: &Tensor) -> Result<Vec<Tensor>, Error> {
        self.run_inputs(std::slice::from_ref(input))
    }
}

/// The reference implementation, plain loops with 64-bit sums, as an engine.
#[cfg(feature = "cpu")]
#[doc(hidden)]
#[derive(Clone, Debug)]
pub struct Oracle(Graph);

#[cfg(feature = "cpu")]
impl Oracle {
    /// An oracle for a graph.
    pub const fn new(graph: Graph) -> Self {
        Self(graph)
    }
}

#[cfg(feature = "cpu")]
impl Engine for Oracle {
    fn outputs(&self) -> Vec<EngineOutput<'_>> {
        outputs(&self.0)
    }

    fn run(&self, input: &Tensor) -> Result<Vec<Tensor>, Error> {
        let values = reference::run(&self.0, std::slice::from_ref(input))?;
        let outputs = self.0.outputs().iter();
        // A run keeps every output.
        Ok(outputs.filter_map(|&id| values.get(id).cloned()).collect())
    }
}

#[cfg(feature = "cpu")]
fn outputs(graph: &Graph) -> Vec<EngineOutput<'_>> {
    let output = |id: &ValueId| {
        let value = graph.get(*id).ok()?;
        let roles = graph.roles().filter(|(_, value)| value == id);
        Some(EngineOutput {
            name: &value.name,
            roles: roles.map(|(role, _)| role).collect(),
            shape: value.shape,
        })
    };
    // The ids come from the graph itself.
    graph.outputs().iter().filter_map(output).collect()
}
