//! Reads Keras files: legacy HDF5 (`.h5`), `.weights.h5`, and the `.keras` archives of Keras 3.
//!
//! A file becomes a [`Network`](resnet_wgpu::network::Network). If it has a description
//! (`model_config`, `config.json`), the graph is built from that: strides, padding, epsilon and
//! pooling are known, and names only locate weights. If it holds weights alone, names and shapes
//! select a known family; what they leave open is recorded as a decision, or the file is refused.
//!
//! `archive` opens containers, `preset` finds companion files, `store` lists variables; `config`,
//! `calls`, `layers`, `arithmetic` and `hub` read descriptions, `evidence` and `families` replace
//! missing ones; `bind` assigns variables to layers, `import` and `parameters` build the graph.

mod archive;
mod arithmetic;
mod bind;
mod calls;
mod config;
mod evidence;
mod families;
mod hub;
mod import;
mod layers;
mod network;
mod parameters;
mod preprocess;
mod preset;
mod store;

use std::path::{Path, PathBuf};

use crate::weights::bytes::Bytes;
use archive::Archive;
use bind::Bound;
use import::{Imported, Trained};
use network::{COLOURS, Network};
use resnet_wgpu::Error;
use resnet_wgpu::internals::network::resnet::lesson_size_for;
use resnet_wgpu::internals::network::{Facts, Family};
use resnet_wgpu::network::{
    Activation, Confidence, Decision, Decisions, ModelOptions, Network as Described, Variant,
};
use resnet_wgpu::picture::{ChannelOrder, Labels, Preprocess, Resize};

/// Height and width of the input image if neither the file nor the caller states them.
const USUAL_SIZE: usize = 224;

/// Why a container is refused; the caller adds the path.
#[derive(Debug)]
struct Fault(String);

impl From<crate::weights::Fault> for Fault {
    fn from(fault: crate::weights::Fault) -> Self {
        match fault {
            crate::weights::Fault::Damaged(reason)
            | crate::weights::Fault::Forbidden(reason)
            | crate::weights::Fault::Several(reason) => Self(reason),
        }
    }
}

/// Reads a file, and the files that belong to it. Its tensors are read when they are needed.
pub(crate) fn open(path: &Path, source: Bytes, options: &ModelOptions) -> Result<Described, Error> {
    let archive = Archive::open(&source).and_then(|mut archive| {
        preset::describe(&mut archive, path)?;
        Ok(archive)
    });
    read(path, archive, options)
}

/// Reads a file held in memory; `name` takes the place of its path in errors.
///
/// # Errors
/// [`Error::WeightsUnreadable`] if the file is damaged, [`Error::Operator`] if a layer is invalid
/// or not supported, [`Error::WeightsUnrecognised`] or [`Error::WeightsAmbiguous`] if the weights
/// alone do not determine the network, [`Error::Model`] if the file and the options contradict each
/// other, the errors of tensors, and the [graph section](Error) for shapes.
pub fn from_bytes(
    name: &str,
    bytes: impl Into<Vec<u8>>,
    options: &ModelOptions,
) -> Result<Described, Error> {
    of_memory(name, Bytes::from(bytes.into()), options)
}

/// Reads a file beside which nothing is.
pub(crate) fn of_memory(
    name: &str,
    source: Bytes,
    options: &ModelOptions,
) -> Result<Described, Error> {
    read(Path::new(name), Archive::open(&source), options)
}

/// Whether a file is one of Keras, by its first bytes or by the names in its archive.
pub(crate) fn is_keras(source: &Bytes) -> bool {
    let Ok(head) = source.head() else {
        return false;
    };
    head.starts_with(archive::HDF5)
        || (head.starts_with(b"PK\x03\x04") && archive::is_archive(source))
}

fn read(
    path: &Path,
    archive: Result<Archive, Fault>,
    options: &ModelOptions,
) -> Result<Described, Error> {
    crate::refuse_arch(options, "a Keras file")?;
    crate::refuse_entry(options, "a Keras file")?;
    let archive = archive.map_err(|Fault(reason)| unreadable(reason));
    let model = archive.and_then(|archive| build(path, &archive, options));
    model.map_err(|error| in_file(error, path))
}

/// The error of a damaged file; [`in_file`] adds the path.
fn unreadable(reason: String) -> Error {
    Error::WeightsUnreadable {
        path: PathBuf::new(),
        reason,
    }
}

fn in_file(error: Error, path: &Path) -> Error {
    match error {
        Error::WeightsUnreadable { reason, .. } => Error::WeightsUnreadable {
            path: path.to_owned(),
            reason,
        },
        other => other,
    }
}

/// The error for a layer.
fn layer_error(name: &str, class: &str, reason: impl Into<String>) -> Error {
    Error::Operator {
        node: name.to_owned(),
        op: class.to_owned(),
        reason: reason.into(),
    }
}

/// The network to build, its weights, and how it was identified.
struct Source {
    network: Network,
    bound: Bound,
    variant: Option<Variant>,
    /// Features into the classifier and channels out of the last block, for undescribed networks.
    features: Option<[usize; 2]>,
    decisions: Vec<Decision>,
}

impl Source {
    fn find(archive: &Archive, options: &ModelOptions) -> Result<Self, Error> {
        if let Some(name) = options.settings.keys().next() {
            return Err(Error::Model {
                model: "this Keras file".to_owned(),
                reason: format!("it takes no settings; leave '{name}' out"),
            });
        }
        let saved = archive
            .saved()
            .map_err(|Fault(reason)| unreadable(reason))?;
        let Some(config) = &archive.config else {
            let found = families::recognise(saved, options.variant)?;
            return Ok(Self {
                network: found.network,
                bound: found.bound,
                variant: Some(found.variant),
                features: found.features,
                decisions: found.decisions,
            });
        };
        if options.variant.is_some() {
            return Err(Error::Model {
                model: "this Keras file".to_owned(),
                reason: "it describes its network; leave the variant out".to_owned(),
            });
        }
        let network = config::parse(config)?;
        let layers = network.count()?;
        let described = Decision::certain(
            "layers",
            format!("{layers}, as described"),
            archive.described_by,
        );
        Ok(Self {
            bound: bind::bind(&network, saved)?,
            network,
            variant: None,
            features: None,
            decisions: vec![described],
        })
    }

    /// Height and width of the input image, and the evidence for them.
    fn size(&self, options: &ModelOptions) -> Result<([usize; 2], Decision), Error> {
        let decided = |size: [usize; 2], confidence, evidence: &str| {
            let [h, w] = size;
            let decision = Decision::new("size", format!("{h}x{w}"), evidence, confidence);
            Ok((size, decision))
        };
        if let Some(size) = options.size {
            return decided(size, Confidence::Certain, "asked for");
        }
        if let Some([h, w]) = self.network.size() {
            let size = [h.or(w).unwrap_or(USUAL_SIZE), w.or(h).unwrap_or(USUAL_SIZE)];
            return decided(size, Confidence::Certain, "the file");
        }
        let is_lesson = self.variant == Some(Variant::Notebook);
        if let Some([features, channels]) = self.features.filter(|_| is_lesson) {
            // The last stage has 32 times as many channels as the stem.
            let stem = channels / 32;
            let size = lesson_size_for(stem, features).ok_or_else(|| Error::Model {
                model: self.network.name.clone(),
                reason: format!(
                    "the classifier takes {features} features, which no square image gives; state \
                     the size of the images that it was trained with"
                ),
            })?;
            return decided(size, Confidence::Inferred, "what the classifier takes");
        }
        let evidence = "the network takes any size";
        decided([USUAL_SIZE; 2], Confidence::Assumed, evidence)
    }
}

fn build(path: &Path, archive: &Archive, options: &ModelOptions) -> Result<Described, Error> {
    let mut source = Source::find(archive, options)?;
    source.bound.mirrored = archive.theano;
    let (size, size_decision) = source.size(options)?;
    // Checked before any shape is computed from it.
    Preprocess::NOTEBOOK.with_size(size).check()?;
    let Source {
        network,
        bound,
        variant,
        decisions: found,
        ..
    } = source;
    let imported = import::run(&network, bound, size)?;
    let writer = archive
        .written_by
        .as_deref()
        .unwrap_or("an unknown version");
    let mut decisions: Decisions = [
        Decision::certain(
            "architecture",
            network.name.clone(),
            "the layers of the file",
        ),
        Decision::certain(
            "weights",
            format!("{}, {} by {writer}", path.display(), archive.format),
            "the file",
        ),
    ]
    .into_iter()
    .chain(found)
    .chain([size_decision])
    .collect();
    if let Some(decision) = batch_norm(imported.trained, options) {
        decisions.record(decision);
    }
    finish(&network, imported, variant, decisions, size, options)
}

/// Reports batch normalisations that were saved with `training=True`; `None` if there are none.
fn batch_norm(trained: Trained, options: &ModelOptions) -> Option<Decision> {
    if options.bn_mode.is_some() || trained == Trained::default() {
        return None;
    }
    let Trained { obeyed, overruled } = trained;
    if obeyed > 0 {
        log::warn!(
            "{obeyed} batch normalisations were saved with training=True: they use the mean and \
             variance of the batch, as in training, and every image changes the results of all \
             others; `bn_mode` running uses the statistics that the training collected instead"
        );
        return Some(Decision::certain(
            "batch norm",
            format!("statistics of the batch in {obeyed} layers"),
            "the layers are called with training=True, which Keras 2 obeys",
        ));
    }
    log::warn!(
        "{overruled} batch normalisations were saved with training=True, which `predict` of Keras 3 \
         overrules: they use the running statistics; `bn_mode` batch uses the mean and variance \
         of the batch instead, as calling the model does"
    );
    Some(Decision::inferred(
        "batch norm",
        format!("running statistics in {overruled} layers"),
        "the layers are called with training=True, which `predict` of Keras 3 overrules",
    ))
}

/// The ImageNet labels, for 1000-class networks published by keras.applications and its relatives.
fn labels(variant: Option<Variant>, classes: usize) -> Option<Labels> {
    let published = [
        Variant::Fchollet,
        Variant::FcholletUnpadded,
        Variant::KerasApplications,
        Variant::KerasApplicationsV2,
        Variant::TfOfficial,
    ];
    let is_imagenet = variant.is_some_and(|variant| published.contains(&variant));
    let names = is_imagenet.then(Labels::imagenet1k);
    names.filter(|names| names.len() == classes)
}

fn finish(
    network: &Network,
    imported: Imported,
    variant: Option<Variant>,
    mut decisions: Decisions,
    size: [usize; 2],
    options: &ModelOptions,
) -> Result<Described, Error> {
    let Imported {
        draft,
        result,
        is_image,
        probabilities,
        pixels,
        grey,
        scaled,
        ..
    } = imported;
    let shape = draft.shape(result);
    if is_image && [shape.h, shape.w] != [1, 1] {
        return Err(Error::Model {
            model: network.name.clone(),
            reason: format!(
                "it has no classifier: it ends with an image of {}x{}, not a score for each class; \
                 for features, save it with a pooling at its end",
                shape.h, shape.w
            ),
        });
    }
    let activation = probabilities
        .as_ref()
        .map(|(activation, _)| match activation {
            network::Activation::Sigmoid => Activation::Sigmoid,
            network::Activation::LogSoftmax => Activation::LogSoftmax,
            _ => Activation::Softmax,
        });
    let ends = draft.ends(result, activation);
    decisions.record(match (activation, ends.logits) {
        (Some(activation), _) => {
            let value = format!("what the final {activation} reads");
            Decision::certain("logits", value, "the layers")
        }
        (None, Some(_)) => {
            Decision::inferred("logits", "the output", "the network ends without a softmax")
        }
        (None, None) => {
            let value = format!("none: {} features", shape.c);
            Decision::certain("classifier", value, "the layers")
        }
    });
    let variant = variant.or_else(|| preprocess::of_names(network));
    let (mut preprocess, mut decision) = preprocess::decide(variant, pixels, size, shape.c);
    let channels = network.channels();
    if grey {
        preprocess.channels = ChannelOrder::Grey;
        decision.value = preprocess.to_string();
    } else if channels != COLOURS {
        preprocess = Preprocess::of_arrays(channels, size);
        if network.size().is_some_and(|size| size != [None; 2]) {
            preprocess.resize = Resize::Squash;
        }
        if scaled {
            preprocess.std = [1.0 / 255.0; 3];
        }
        let evidence = "the channels of the image";
        decision = Decision::inferred("preprocessing", preprocess.to_string(), evidence);
    }
    decisions.record(decision);
    let facts = Facts {
        arch: network.name.clone(),
        family: Family::Keras,
        plan: None,
        preprocess,
        labels: labels(variant, shape.c),
        decisions,
        activation,
        probabilities: probabilities.map(|(_, name)| name),
    };
    Described::new(draft.finish(ends), facts, options)
}
