//! The fast CPU path: the fallback without a GPU, and the baseline for GPU times.
//!
//! Takes a [`Graph`], best after the optimising passes, so that batch normalisation is folded and
//! ReLU and residuals are part of the convolutions. [`CpuExecutor::new`] packs the weights once;
//! [`CpuExecutor::run`] computes the outputs on all cores of the current `rayon` pool, in buffers
//! that are kept for the next run. Reading order: `layout.rs`, `step.rs`, `conv2d.rs`,
//! `microkernel.rs`, `winograd.rs`. The plain version of every operation is in `reference/`.

mod conv2d;
mod elementwise;
mod layout;
mod memory;
mod microkernel;
mod pack;
mod pool;
mod resize;
mod step;
mod vector;
mod winograd;

use std::sync::{Arc, Mutex, PoisonError};

use pulp::Arch;

use crate::error::Error;
use crate::graph::{Graph, ValueId};
use crate::host_memory;
use crate::reference::{Activations, check_inputs};
use crate::tensor::Tensor;
use layout::{Layout, Line};
use memory::Assignment;
use step::Step;

/// A graph, prepared for running on all cores.
///
/// ```
/// use resnet_wgpu::engine::{CpuExecutor, Engine};
/// use resnet_wgpu::network::{Arch, ModelOptions};
/// use resnet_wgpu::tensor::Tensor;
///
/// let mut options = ModelOptions::default();
/// options.size = Some([32, 32]);
/// let model = Arch::ResNet18.random(0, &options)?.model(&options)?;
/// let executor = CpuExecutor::new(&model.graph)?;
/// let outputs = executor.run(&Tensor::new(&[1, 3, 32, 32], vec![0.5; 3 * 32 * 32])?)?;
/// assert_eq!(Some(outputs[0].data().len()), model.classes);
/// # Ok::<(), resnet_wgpu::Error>(())
/// ```
#[derive(Debug)]
pub struct CpuExecutor {
    graph: Arc<Graph>,
    steps: Vec<Step>,
    memory: Assignment,
    /// Buffers of finished runs, for reuse.
    idle: Mutex<Vec<Buffers>>,
}

/// The memory of one run.
#[derive(Debug)]
struct Buffers {
    values: Vec<Vec<Line>>,
    scratch: Vec<Line>,
}

impl CpuExecutor {
    /// Packs the weights and assigns buffers.
    ///
    /// # Errors
    /// [`Error::Memory`] if a run needs more memory than there is.
    pub fn new(graph: &Graph) -> Result<Self, Error> {
        let memory = Assignment::new(graph);
        let lines: usize = memory.lines().iter().sum();
        let values = lines as u64 * size_of::<Line>() as u64;
        let weights = graph.nodes().iter();
        let weights = weights.map(|node| Step::weight_bytes(graph, node)).sum();
        host_memory::check(&graph.batch_in_words(), values.saturating_add(weights))?;
        Ok(Self::assembled(graph, memory, Arch::new()))
    }

    fn assembled(graph: &Graph, memory: Assignment, arch: Arch) -> Self {
        let graph = Arc::new(graph.clone());
        let nodes = graph.nodes().iter();
        Self {
            steps: nodes.map(|node| Step::new(&graph, node, arch)).collect(),
            memory,
            graph,
            idle: Mutex::default(),
        }
    }

    pub(crate) fn graph(&self) -> &Graph {
        &self.graph
    }

    /// Computes the outputs of the graph, in the order of [`Graph::outputs`].
    ///
    /// # Errors
    /// [`Error::Input`] if the inputs do not match the graph.
    #[doc(hidden)]
    pub fn run_inputs(&self, inputs: &[Tensor]) -> Result<Vec<Tensor>, Error> {
        check_inputs(&self.graph, inputs)?;
        let mut buffers = self.idle_buffers();
        self.compute(inputs, &mut buffers, |_, _| Ok(()))?;
        let outputs = self.graph.outputs().iter();
        let outputs = outputs
            .map(|&id| self.read(id, &buffers.values[self.memory.buffer(id)]))
            .collect();
        self.lock_idle().push(buffers);
        outputs
    }

    /// Runs every step, and passes each result to `visit` before it may be overwritten.
    fn compute(
        &self,
        inputs: &[Tensor],
        buffers: &mut Buffers,
        mut visit: impl FnMut(ValueId, &[Line]) -> Result<(), Error> + Send,
    ) -> Result<(), Error> {
        for (&id, tensor) in self.graph.inputs().iter().zip(inputs) {
            let layout = Layout::new(self.graph.shape(id));
            let lines = &mut buffers.values[self.memory.buffer(id)][..layout.lines()];
            layout.pack(tensor.data(), lines);
        }
        // Inside the pool, so that steps do not wake it one by one.
        rayon::scope(|_| {
            for (step, node) in self.steps.iter().zip(self.graph.nodes()) {
                let layout = Layout::new(self.graph.shape(node.output));
                let target = self.memory.buffer(node.output);
                let mut taken = std::mem::take(&mut buffers.values[target]);
                let out = &mut taken[..layout.lines()];
                let values = &buffers.values;
                let read = |index: usize| {
                    let id: ValueId = *node.inputs.get(index)?;
                    let lines = Layout::new(self.graph.shape(id)).lines();
                    Some(&values[self.memory.buffer(id)][..lines])
                };
                step.run(&read, &mut buffers.scratch, out);
                layout.clear_zero_lines(out);
                visit(node.output, out)?;
                buffers.values[target] = taken;
            }
            Ok(())
        })
    }

    fn read(&self, id: ValueId, lines: &[Line]) -> Result<Tensor, Error> {
        let shape = self.graph.shape(id);
        Tensor::new(&shape.dims(), Layout::new(shape).unpack(lines))
    }

    fn idle_buffers(&self) -> Buffers {
        self.lock_idle().pop().unwrap_or_else(|| Buffers {
            values: self
                .memory
                .lines()
                .iter()
                .map(|&lines| vec![Line::ZERO; lines])
                .collect(),
            scratch: vec![
                Line::ZERO;
                self.steps
                    .iter()
                    .map(Step::scratch_lines)
                    .max()
                    .unwrap_or(0)
            ],
        })
    }

    fn lock_idle(&self) -> std::sync::MutexGuard<'_, Vec<Buffers>> {
        // A panic elsewhere cannot have left the list half-changed.
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[doc(hidden)]
impl CpuExecutor {
    /// Does what [`Self::new`] does, with a given set of vector instructions.
    pub fn with_arch(graph: &Graph, arch: Arch) -> Self {
        Self::assembled(graph, Assignment::new(graph), arch)
    }

    /// The largest magnitude in each value that a run computes, in order; what is no number counts as
    /// larger than all numbers.
    ///
    /// # Errors
    /// [`Error::Input`] if the inputs do not match the graph.
    pub fn magnitudes(&self, inputs: &[Tensor]) -> Result<Vec<(ValueId, f32)>, Error> {
        check_inputs(&self.graph, inputs)?;
        let mut buffers = self.idle_buffers();
        let mut found = Vec::new();
        self.compute(inputs, &mut buffers, |id, lines| {
            let numbers = lines.iter().flat_map(|line| line.0.map(f32::abs));
            found.push((id, numbers.max_by(f32::total_cmp).unwrap_or(0.0)));
            Ok(())
        })?;
        self.lock_idle().push(buffers);
        Ok(found)
    }

    /// Computes every value of the graph, for comparisons layer by layer.
    ///
    /// # Errors
    /// [`Error::Input`] if the inputs do not match the graph.
    pub fn run_keeping_all(&self, inputs: &[Tensor]) -> Result<Activations, Error> {
        host_memory::check(&self.graph.batch_in_words(), self.graph.bytes())?;
        check_inputs(&self.graph, inputs)?;
        let mut buffers = self.idle_buffers();
        let mut activations = Activations::default();
        for (&id, tensor) in self.graph.inputs().iter().zip(inputs) {
            activations.insert(id, tensor.clone());
        }
        self.compute(inputs, &mut buffers, |id, lines| {
            activations.insert(id, self.read(id, lines)?);
            Ok(())
        })?;
        self.lock_idle().push(buffers);
        Ok(activations)
    }
}
