//! The network that the program brings along, for whoever has no weights at hand: twelve solids,
//! `models/shapes/README.md`. It is in the program itself, so that an installed one has it too.

use resnet_wgpu::network::{ModelOptions, Network};
#[cfg(feature = "bundled-model")]
use resnet_wgpu::weights::Weights;

use crate::failure::Failure;

/// What the results call it, where they would show the path of a weight file.
pub(crate) const NAME: &str = "bundled: shapes";

/// A safetensors file that says by itself how it is to be used.
#[cfg(feature = "bundled-model")]
static BYTES: &[u8] = include_bytes!("../../../models/shapes/shapes.f16.safetensors");

/// Opens it.
#[cfg(feature = "bundled-model")]
pub(crate) fn open(options: &ModelOptions) -> Result<Network, Failure> {
    log::info!(
        "no --weights: the bundled network, which knows twelve solids and nothing else; --arch \
         gives others with made-up numbers"
    );
    Ok(Weights::from_static(NAME, BYTES)?.network(options)?)
}

/// Says what to do without it.
#[cfg(not(feature = "bundled-model"))]
pub(crate) fn open(_: &ModelOptions) -> Result<Network, Failure> {
    Err(Failure::usage(
        "this program was built without the cargo feature `bundled-model`; give --weights FILE, or \
         --arch for made-up numbers",
    ))
}
