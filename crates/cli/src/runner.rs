//! A graph on the chosen device, with progress on stderr.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use resnet_run::{Device, Fitted, Network, Runner};
use resnet_wgpu::graph::Graph;
use resnet_wgpu::picture::Batch;
use resnet_wgpu::plan::InputFormat;
use resnet_wgpu::tensor::Tensor;

use crate::failure::Failure;
use crate::progress::Bars;

/// Plans the graph and prepares everything needed to run it, on this device and no other.
pub(crate) fn prepare(
    device: &Device,
    graph: &Graph,
    input: InputFormat,
    quiet: bool,
) -> Result<Runner, Failure> {
    let mut bars = Bars::new(quiet);
    Ok(Runner::on(device, graph, input, &mut |progress| {
        bars.show(progress);
    })?)
}

/// The same for what wants answers, from the CPU where the GPU fails.
pub(crate) fn prepare_anywhere(
    device: &Device,
    graph: &Graph,
    input: InputFormat,
    quiet: bool,
) -> Result<Runner, Failure> {
    let mut bars = Bars::new(quiet);
    Ok(Runner::new(device, graph, input, &mut |progress| {
        bars.show(progress);
    })?)
}

/// A network for batches of several threads.
#[derive(Debug)]
pub(crate) struct Answering {
    state: Mutex<State>,
    /// What of the network is run.
    graph: fn(&Network) -> Result<Graph, Failure>,
    /// Whether every image is run in its own size.
    free: bool,
    quiet: bool,
}

#[derive(Debug)]
pub(crate) struct State {
    pub(crate) network: Network,
    pub(crate) device: Device,
    /// Made for the first batch.
    fitted: Fitted,
    pub(crate) pipelines_ms: f64,
}

/// What is said of an image whose own size the network cannot take, instead of an answer.
pub(crate) type Fit<T> = Result<T, Failure>;

impl Answering {
    pub(crate) fn new(
        network: Network,
        device: Device,
        graph: fn(&Network) -> Result<Graph, Failure>,
        quiet: bool,
    ) -> Self {
        Self {
            free: network.is_free(),
            state: Mutex::new(State {
                network,
                device,
                fitted: Fitted::default(),
                pipelines_ms: 0.0,
            }),
            graph,
            quiet,
        }
    }

    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        // A panic ends the program.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Batches that run at the same time.
    pub(crate) fn runs(&self) -> usize {
        self.state().device.runs()
    }

    /// The outputs for a batch.
    pub(crate) fn answer(&self, batch: &Batch) -> Result<Fit<Vec<Tensor>>, Failure> {
        match self.runner(batch) {
            Err(failure) if self.free => Ok(Err(failure)),
            runner => Ok(Ok(runner?.answer(batch)?)),
        }
    }

    fn runner(&self, batch: &Batch) -> Result<Arc<Runner>, Failure> {
        let State {
            network,
            device,
            fitted,
            pipelines_ms,
        } = &mut *self.state();
        fitted.runner(network, batch.rules(), |network, input| {
            let runner = prepare_anywhere(device, &(self.graph)(network)?, input, self.quiet)?;
            *pipelines_ms = runner.pipelines_ms;
            Ok(runner)
        })
    }
}
