//! The network that is part of the program, for users without weights at hand: twelve solids, or none, see
//! `models/shapes/README.md`. Every program built from the repository contains it; the published
//! package would be too large with it.

#[cfg(bundled_network)]
use resnet_formats::weights::Weights;
use resnet_wgpu::network::{ModelOptions, Network};

use crate::failure::Failure;

/// What results show in place of the path of a weight file.
pub(crate) const NAME: &str = "bundled: shapes";

/// A safetensors file that describes its network.
#[cfg(bundled_network)]
static BYTES: &[u8] = include_bytes!("../../../models/shapes/shapes.int8.safetensors");

/// Opens the network.
#[cfg(bundled_network)]
pub(crate) fn open(options: &ModelOptions) -> Result<Network, Failure> {
    log::info!(
        "no --weights: the bundled network, which knows twelve solids, and when there is none of them; \
         --arch gives others with random weights"
    );
    Ok(Weights::from_static(NAME, BYTES)?.network(options)?)
}

/// Says what to do without the bundled network.
#[cfg(not(bundled_network))]
pub(crate) fn open(_: &ModelOptions) -> Result<Network, Failure> {
    Err(Failure::usage(
        "this program was not built from the repository, which has the bundled network; give \
         --weights FILE, or --arch for random weights",
    ))
}
