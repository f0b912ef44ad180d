//! Networks: from a description and tensors to a graph of any batch and size.
//!
//! Readers of files and the families of `resnet` lay a network out on a `Draft`. What comes out
//! is a [`Network`]: a `Blueprint` of its layers, its tensors, how images are prepared, and a record
//! of everything that had to be decided. [`Network::model`] makes a [`Model`] of it, the graph for one
//! batch and size, as often as it is asked for and without any file.

mod activation;
pub(crate) mod blueprint;
mod bn_mode;
pub(crate) mod build;
mod decision;
pub(crate) mod draft;
pub(crate) mod family;
pub(crate) mod padding;
pub(crate) mod parameter;
pub(crate) mod resnet;
pub(crate) mod source;
pub(crate) mod variant;

pub use activation::Activation;
pub(crate) use blueprint::{Blueprint, Operation, Tensors};
pub use bn_mode::BnMode;
pub(crate) use build::Facts;
pub use build::{Model, ModelOptions, Network};
pub use decision::{Confidence, Decision, Decisions};
pub(crate) use draft::{Draft, Ends};
pub(crate) use family::Family;
pub(crate) use padding::{Fill, PaddingRule};
pub(crate) use parameter::Parameter;
pub use resnet::Arch;
pub(crate) use source::{Random, TensorSource};
pub use variant::Variant;
pub(crate) use variant::{Choice, choose};
