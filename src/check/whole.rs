//! The whole network at once, where its kernels one by one take longer.
//!
//! A network that agrees with the CPU says that its plan is right, with its sizes and its batch, and nothing about
//! kinds of layers: those of another network are checked on small images, or with that.

use std::collections::BTreeSet;

use twox_hash::XxHash3_128;

use super::cases::run_on_noise;
use super::{Check, allowed, difference};
use crate::cpu::CpuExecutor;
use crate::error::Error;
use crate::gpu::Session;
use crate::graph::Node;
use crate::kernels::Precision;
use crate::plan::Plan;
use crate::tensor::Tensor;

/// The most products of a run on the CPU: a second of one core.
const MOST_PRODUCTS: u64 = 20_000_000_000;

#[doc(hidden)]
impl Check {
    /// Whether [`Self::of_whole`] is faster than the cases, which have kernels compiled that the network does not
    /// need. Half precision rounds too much for a comparison of more than a layer.
    pub fn suits_whole(&self) -> bool {
        let Self { graph, options, .. } = self;
        let products = |node: &Node| graph.macs(node).unwrap_or(u64::MAX);
        let all = graph.nodes().iter().map(products);
        options.precision == Precision::F32 && all.fold(0, u64::saturating_add) <= MOST_PRODUCTS
    }

    /// Whether the plan is one of those that agreed with the CPU.
    pub fn is_known(&self) -> bool {
        self.networks.contains(&self.network)
    }

    /// Counts the plan among those that agreed: the CPU says so, or nothing against it and each kernel is right.
    pub fn know(&mut self) {
        self.networks.insert(self.network.clone());
    }

    /// The plans that agreed with the CPU.
    pub(super) fn networks(&self) -> &BTreeSet<String> {
        &self.networks
    }

    /// Believes that these plans agreed.
    pub(super) fn believe_networks(&mut self, networks: BTreeSet<String>) {
        self.networks.extend(networks);
    }

    /// Runs the network by its plan, and on the CPU, on noise, and returns the largest difference of an output,
    /// relative to its largest number; `None` if the CPU's outputs say nothing. Where they agree, the plan is known
    /// from now on; where they do not, nothing is.
    ///
    /// # Errors
    /// Those of the device.
    pub fn of_whole(&mut self, session: &Session, plan: &Plan) -> Result<Option<f32>, Error> {
        let Ok(cpu) = CpuExecutor::new(&self.graph) else {
            return Ok(None);
        };
        let (x, got) = run_on_noise(session, plan)?;
        let Ok(want) = cpu.run_inputs(&[x]) else {
            return Ok(None);
        };
        if !want.iter().all(says_something) {
            return Ok(None);
        }
        let pairs = want.iter().zip(&got);
        let worst = pairs.fold(0.0, |worst, (want, got)| difference(want, got).max(worst));
        if worst <= allowed(self.options.precision) {
            self.know();
        } else {
            self.doubt();
        }
        Ok(Some(worst))
    }
}

/// What distinguishes plans: kernels, tiles and sizes, but no parameters.
pub(super) fn identity(plan: &Plan) -> String {
    let keys = plan.steps().iter().map(|step| step.launch.pipeline_key());
    let text = format!("{plan}{:?}", keys.collect::<Vec<_>>());
    format!("{:032x}", XxHash3_128::oneshot(text.as_bytes()))
}

/// Zeros would come of most mistakes, too, and what overflows differs anyway.
fn says_something(tensor: &Tensor) -> bool {
    let data = tensor.data();
    data.iter().all(|x| x.is_finite()) && data.iter().any(|&x| x != 0.0)
}
