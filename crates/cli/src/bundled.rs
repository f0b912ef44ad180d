//! The network that the program brings along, for whoever has no weights at hand: twelve solids,
//! `models/shapes/README.md`. It is in every program that is built from the repository; the package
//! would be too large with it.

#[cfg(bundled_network)]
use resnet_formats::weights::Weights;
use resnet_wgpu::network::{ModelOptions, Network};

use crate::failure::Failure;

/// What the results call it, where they would show the path of a weight file.
pub(crate) const NAME: &str = "bundled: shapes";

/// A safetensors file that says by itself how it is to be used.
#[cfg(bundled_network)]
static BYTES: &[u8] = include_bytes!("../../../models/shapes/shapes.f16.safetensors");

/// Opens it.
#[cfg(bundled_network)]
pub(crate) fn open(options: &ModelOptions) -> Result<Network, Failure> {
    log::info!(
        "no --weights: the bundled network, which knows twelve solids and nothing else; --arch \
         gives others with made-up numbers"
    );
    Ok(Weights::from_static(NAME, BYTES)?.network(options)?)
}

/// Says what to do without it.
#[cfg(not(bundled_network))]
pub(crate) fn open(_: &ModelOptions) -> Result<Network, Failure> {
    Err(Failure::usage(
        "this program was not built from the repository, which has the bundled network; give \
         --weights FILE, or --arch for made-up numbers",
    ))
}
