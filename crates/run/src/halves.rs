//! Half precision: whether it can hold what a network makes of pictures.

use std::collections::HashMap;

use resnet_wgpu::Error;
use resnet_wgpu::engine::CpuExecutor;
use resnet_wgpu::graph::{Graph, ValueId};
use resnet_wgpu::internals::graph::{Conv2d, Node, Op};
use resnet_wgpu::internals::kernels::winograd::OutTile;
use resnet_wgpu::internals::plan::{Candidate, OnBuffers, OnTextures, Step};
use resnet_wgpu::internals::reference::{winograd_bound, winograd_largest};
use resnet_wgpu::plan::Plan;
use resnet_wgpu::tensor::Tensor;

/// The largest number that half precision has.
pub const LARGEST_HALF: f32 = 65_504.0;

/// What no half can hold: a parameter or a value, and the largest number in it.
pub(crate) type Beyond = (String, f32);

/// Looks for numbers that no half can hold among the weights, and among the values that the network makes
/// of this input, as the CPU computes them.
pub(crate) fn beyond(graph: &Graph, input: &Tensor) -> Result<Found, Error> {
    let params = graph.params().iter();
    let weight = params
        .filter_map(|param| Some((param.name.clone(), largest(&param.tensor)?)))
        .find(|(_, largest)| *largest > LARGEST_HALF);
    if weight.is_some() {
        return Ok(Found {
            beyond: weight,
            values: HashMap::new(),
        });
    }
    let executor = CpuExecutor::new(graph)?;
    let values = executor.magnitudes(std::slice::from_ref(input))?;
    // What is no number is larger than all of them.
    let first = values
        .iter()
        .find(|(_, largest)| largest.total_cmp(&LARGEST_HALF).is_gt());
    let beyond = match first {
        Some(&(id, largest)) => Some((graph.get(id)?.name.clone(), largest)),
        None => None,
    };
    let inputs = graph.inputs().iter().copied();
    let inputs = inputs.map(|id| (id, largest(input).unwrap_or(0.0)));
    Ok(Found {
        beyond,
        values: inputs.chain(values).collect(),
    })
}

/// What was found about a network and an input.
pub(crate) struct Found {
    /// The first.
    pub(crate) beyond: Option<Beyond>,
    /// The largest number of every value.
    values: HashMap<ValueId, f32>,
}

impl Found {
    /// The same for what Winograd's algorithm stores between its dispatches, which may be larger than what
    /// goes in and comes out.
    pub(crate) fn beyond_in_winograd(
        &self,
        graph: &Graph,
        plan: &Plan,
        input: &Tensor,
    ) -> Result<Option<Beyond>, Error> {
        let mut values = None;
        for (node, conv, out_tile) in transformed(graph, plan) {
            let weight = &graph.get_param(conv.weight)?.tensor;
            let largest = self.values.get(&node.inputs[0]);
            let largest = largest.copied().unwrap_or(f32::INFINITY);
            if winograd_bound(weight, largest, out_tile) <= LARGEST_HALF {
                continue;
            }
            let values = match &mut values {
                Some(values) => values,
                none => {
                    let executor = CpuExecutor::new(graph)?;
                    none.insert(executor.run_keeping_all(std::slice::from_ref(input))?)
                }
            };
            let Some(x) = values.get(node.inputs[0]) else {
                continue;
            };
            let largest = winograd_largest(conv, weight, x, out_tile)?;
            if largest.total_cmp(&LARGEST_HALF).is_gt() {
                return Ok(Some((format!("{} (Winograd)", node.name), largest)));
            }
        }
        Ok(None)
    }
}

/// The convolutions of a plan that are computed by Winograd's algorithm.
fn transformed<'a>(graph: &'a Graph, plan: &Plan) -> Vec<(&'a Node, &'a Conv2d, OutTile)> {
    let of = |step: &Step| match step.choice? {
        Candidate::Buffers(OnBuffers::Winograd(out_tile, _))
        | Candidate::Textures(OnTextures::Winograd(out_tile, _)) => {
            Some((step.node.clone(), out_tile))
        }
        Candidate::Buffers(_) | Candidate::Textures(_) => None,
    };
    let tiles: HashMap<String, OutTile> = plan.steps().iter().filter_map(of).collect();
    let nodes = graph.nodes().iter();
    let of_node = |node: &'a Node| match &node.op {
        Op::Conv2d(conv) => Some((node, conv, *tiles.get(&node.name)?)),
        _ => None,
    };
    nodes.filter_map(of_node).collect()
}

/// The largest magnitude.
fn largest(tensor: &Tensor) -> Option<f32> {
    let numbers = tensor.scalars();
    numbers.iter().map(|x| x.abs()).max_by(f32::total_cmp)
}
