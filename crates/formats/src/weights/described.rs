//! Writes and reads files that describe their own network, as made by `resnet convert`.
//!
//! The container is safetensors. Tensors have the names of the graph's parameters and its layout,
//! OIHW and `[out, in]`; for torchvision's and timm's networks these are the original names, so
//! PyTorch can load the file too. The metadata states the rest, so nothing need be guessed:
//!
//! | key | value |
//! |---|---|
//! | `graph` | the layers, as JSON: a [`Blueprint`] |
//! | `architecture` | the name of the network, such as `resnet50d` |
//! | `preprocess` | a [`Preprocess`] as JSON |
//! | `activation` | what turns scores into probabilities, such as `softmax` |
//! | `labels` | the class names as a JSON list, if known |
//! | `origin` | what the file was made from, for human readers |
//! | `format` | `pt`, which Hugging Face's libraries require |
//!
//! A kernel or matrix of integers of 8 bits, `NAME`, has a scale for each output channel in `NAME.scale`.
//!
//! In files without `graph`, `preprocess` (JSON, or one of [`Preprocess::NAMES`]), `labels` and
//! `epsilon` are honoured too.

use std::collections::{BTreeSet, HashMap};
use std::path::Path;

use serde::Serialize;

pub use super::save::WeightsAs;
use super::save::save as write;
use super::{DESCRIPTION, Weights};
use resnet_wgpu::Error;
use resnet_wgpu::internals::network::{Blueprint, Facts, Family, TensorSource, Tensors};
use resnet_wgpu::network::{Decision, ModelOptions, Network};
use resnet_wgpu::picture::Labels;
use resnet_wgpu::picture::Preprocess;

/// Writes a network, its preprocessing and its labels as one self-describing safetensors file.
///
/// # Errors
/// [`Error::Write`].
pub fn save(network: &Network, path: impl AsRef<Path>, weights: WeightsAs) -> Result<(), Error> {
    let facts = &network.facts;
    let blueprint = network.blueprint();
    let rules = facts.preprocess.with_size(blueprint.size());
    let mut metadata = HashMap::from([
        ("format".to_owned(), "pt".to_owned()),
        ("architecture".to_owned(), facts.arch.clone()),
        (DESCRIPTION.to_owned(), blueprint.to_json()?),
        ("preprocess".to_owned(), json(&rules)?),
    ]);
    if let Some(activation) = network.activation() {
        metadata.insert("activation".to_owned(), activation.name().to_owned());
    }
    if let Some(labels) = &facts.labels {
        let names: Vec<&str> = labels.iter().collect();
        metadata.insert("labels".to_owned(), json(&names)?);
    }
    if let Some(origin) = facts.decisions.get("weights") {
        metadata.insert("origin".to_owned(), origin.value.clone());
    }
    let names: BTreeSet<&str> = blueprint.tensors().collect();
    let tensors = names
        .into_iter()
        .filter_map(|name| Some((name, network.tensors().get(name)?)));
    write(path.as_ref(), tensors, metadata, weights)
}

/// Reads the network that a file describes.
pub(crate) fn read(weights: &mut Weights, options: &ModelOptions) -> Result<Network, Error> {
    crate::refuse_entry(options, "a file that lists its layers")?;
    let text = |key: &str| weights.metadata(key);
    let blueprint = Blueprint::from_json(text(DESCRIPTION).unwrap_or_default())?;
    let name = text("architecture").unwrap_or("network").to_owned();
    if let Some(arch) = options.arch.filter(|arch| arch.name() != name) {
        return Err(refuse(format!(
            "it is {name}, not {arch}; leave the architecture out"
        )));
    }
    if let Some(variant) = options.variant {
        return Err(refuse(format!(
            "its layers are listed, so that there is no variant '{variant}' to choose; leave it out"
        )));
    }
    if let Some(name) = options.settings.keys().next() {
        return Err(Error::Setting {
            name: name.clone(),
            reason: "the file lists its layers, and nothing is left to say; leave it out"
                .to_owned(),
        });
    }
    let preprocess = match text("preprocess") {
        Some(text) => Preprocess::from_json(text)?,
        None => return Err(refuse("the text 'preprocess' is missing".to_owned())),
    };
    let labels = text("labels").map(Labels::parse).transpose()?;
    let activation = text("activation").map(str::parse).transpose()?;
    let listed = "the file lists its layers";
    let metadata = "metadata of the file";
    let file = weights.path().display().to_string();
    let origin = text("origin").unwrap_or("unknown");
    let decisions = [
        Decision::certain("architecture", name.clone(), listed),
        Decision::certain("weights", file, listed),
        Decision::certain("origin", origin, metadata),
        Decision::certain("preprocessing", preprocess.to_string(), metadata),
    ];
    let named = labels.as_ref().map(|labels| {
        let names = format!("{} names", labels.len());
        Decision::certain("labels", names, metadata)
    });
    let facts = Facts {
        arch: name,
        family: Family::Described,
        plan: None,
        preprocess,
        labels,
        decisions: decisions.into_iter().chain(named).collect(),
        activation,
        probabilities: None,
    };
    let mut tensors = Tensors::new();
    for name in blueprint.tensors() {
        if !tensors.contains_key(name) {
            let dims = weights.dims(name).ok_or_else(|| Error::WeightMissing {
                name: name.to_owned(),
                expected: Vec::new(),
            })?;
            tensors.insert(name.to_owned(), weights.take(name, &dims)?);
        }
    }
    Network::new((blueprint, tensors), facts, options)
}

fn json(value: &impl Serialize) -> Result<String, Error> {
    serde_json::to_string(value)
        .map_err(|error| refuse(format!("cannot be written as JSON: {error}")))
}

fn refuse(reason: String) -> Error {
    Error::Model {
        model: "the network that the file describes".to_owned(),
        reason,
    }
}
