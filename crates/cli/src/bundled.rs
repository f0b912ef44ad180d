//! The network that the program brings along, for whoever has no weights at hand: twelve solids,
//! `models/shapes/README.md`. It is in every program that is built from the repository; the package
//! would be too large with it.

#[cfg(bundled_network)]
use std::sync::Once;

#[cfg(bundled_network)]
use resnet_formats::models;
use resnet_formats::models::{Model, ModelOptions};
#[cfg(bundled_network)]
use resnet_formats::weights::Weights;

use crate::failure::Failure;

/// What the results call it, where they would show the path of a weight file.
pub(crate) const NAME: &str = "bundled: shapes";

/// A safetensors file that says by itself how it is to be used.
#[cfg(bundled_network)]
static BYTES: &[u8] = include_bytes!("../../../models/shapes/shapes.f16.safetensors");

/// Builds it.
#[cfg(bundled_network)]
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
#[cfg(not(bundled_network))]
pub(crate) fn build(_: &ModelOptions) -> Result<Model, Failure> {
    Err(Failure::usage(
        "this program was not built from the repository, which has the bundled network; give \
         --weights FILE, or --arch for made-up numbers",
    ))
}
