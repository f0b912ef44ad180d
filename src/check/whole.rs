//! The whole network at once, where its kernels one by one take longer.

use super::cases::pixels;
use super::{Check, allowed, difference};
use crate::cpu::CpuExecutor;
use crate::error::Error;
use crate::gpu::Session;
use crate::graph::Node;
use crate::internals::noise::Noise;
use crate::kernels::Precision;
use crate::plan::{InputFormat, Plan};
use crate::reference;
use crate::tensor::Tensor;

/// The most products of a run on the CPU: half a second of one core.
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

    /// Runs the network by its plan, and on the CPU, on noise, and returns the largest difference of an output,
    /// relative to its largest number; `None` if the CPU's outputs say nothing. Where they agree, every case that
    /// is left counts as right.
    ///
    /// # Errors
    /// Those of the device.
    pub fn of_whole(&mut self, session: &Session, plan: &Plan) -> Result<Option<f32>, Error> {
        let Ok(cpu) = CpuExecutor::new(&self.graph) else {
            return Ok(None);
        };
        let shape = plan.input_shape();
        let (x, got) = if let InputFormat::Rgba8(rules) = plan.input_format() {
            let rgba = pixels(shape);
            let x = reference::image_to_tensor(&rgba, shape, &rules.normalization())?;
            (x, session.run_pixels(&rgba)?)
        } else {
            let x = Noise::new(1).tensor(&shape.dims());
            let got = session.run(&x)?;
            (x, got)
        };
        let want = cpu.run_inputs(&[x])?;
        if want.len() != got.len() || !want.iter().all(says_something) {
            return Ok(None);
        }
        let pairs = want.iter().zip(&got);
        let worst = pairs.fold(0.0, |worst, (want, got)| difference(want, got).max(worst));
        if worst <= allowed(self.options.precision) {
            self.right
                .extend(self.waiting.drain(..).map(|case| case.kind));
        }
        Ok(Some(worst))
    }
}

/// Zeros would come of most mistakes, too, and what overflows differs anyway.
fn says_something(tensor: &Tensor) -> bool {
    let data = tensor.data();
    data.iter().all(|x| x.is_finite()) && data.iter().any(|&x| x != 0.0)
}
