//! The network that the program brings along, for whoever has no weights at hand: twelve solids,
//! `models/shapes/README.md`. It is in the program itself, so that an installed one has it too.

#[cfg(feature = "bundled-model")]
use std::sync::Once;

#[cfg(feature = "bundled-model")]
use resnet_wgpu::models;
use resnet_wgpu::models::{Model, ModelOptions};
#[cfg(feature = "bundled-model")]
use resnet_wgpu::weights::Weights;

use crate::failure::Failure;

/// What the results call it, where they would show the path of a weight file.
pub(crate) const NAME: &str = "bundled: shapes";

/// A safetensors file that says by itself how it is to be used.
#[cfg(feature = "bundled-model")]
static BYTES: &[u8] = include_bytes!("../../../models/shapes/shapes.f16.safetensors");

/// Builds it.
#[cfg(feature = "bundled-model")]
pub(crate) fn build(options: &ModelOptions) -> Result<Model, Failure> {
    // `bench` comes here once for each batch size.
    static NOTE: Once = Once::new();
    NOTE.call_once(|| {
        log::info!(
            "no --weights: the bundled network, which knows twelve solids and nothing else; --arch \
             gives others with made-up numbers"
        );
    });
    Ok(models::build(
        None,
        &mut Weights::from_static(NAME, BYTES)?,
        options,
    )?)
}

/// Says what to do without it.
#[cfg(not(feature = "bundled-model"))]
pub(crate) fn build(_: &ModelOptions) -> Result<Model, Failure> {
    Err(Failure::usage(
        "this program was built without the cargo feature `bundled-model`; give --weights FILE, or \
         --arch for made-up numbers",
    ))
}
