//! From the description and tensors of a network to a graph for any batch and image size.
//!
//! File readers and the families in `resnet` build a network with a `Draft`. The outcome is a
//! [`Network`]: a `Blueprint` of its layers, its tensors, its preprocessing, and a record of
//! everything that had to be decided. [`Network::model`] makes [`Model`]s from it: graphs for one
//! batch and image size each, without reading a file again.

mod activation;
pub(crate) mod blueprint;
mod bn_mode;
pub(crate) mod build;
mod decision;
pub(crate) mod draft;
pub(crate) mod family;
pub(crate) mod layer;
pub(crate) mod padding;
pub(crate) mod parameter;
pub(crate) mod resnet;
pub(crate) mod source;
mod stages;
pub(crate) mod variant;

pub use activation::Activation;
pub(crate) use blueprint::{Blueprint, Tensors};
pub use bn_mode::BnMode;
pub(crate) use build::Facts;
pub use build::{Model, ModelOptions, Network};
pub use decision::{Confidence, Decision, Decisions};
pub(crate) use draft::{Draft, Ends};
pub(crate) use family::Family;
pub(crate) use layer::Operation;
pub(crate) use padding::{Fill, PaddingRule};
pub(crate) use parameter::Parameter;
pub use resnet::Arch;
pub(crate) use source::{Random, TensorSource};
pub use variant::Variant;
pub(crate) use variant::{Choice, choose};
