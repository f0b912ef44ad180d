//! A graph on the chosen device, with progress on stderr.

use resnet_run::{Device, Runner};
use resnet_wgpu::graph::Graph;
use resnet_wgpu::plan::InputFormat;

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
