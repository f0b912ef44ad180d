//! The network that is asked for: weights, preprocessing and labels.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Instant;

use resnet_formats::hub::{self, Hub};
use resnet_wgpu::Error;
use resnet_wgpu::graph::{Graph, Role};
use resnet_wgpu::internals::files::read_at_most;
use resnet_wgpu::internals::host_memory;
use resnet_wgpu::network::{
    self, Activation, Arch, BnMode, Decision, Model, ModelOptions, Variant,
};
use resnet_wgpu::passes::{Fusion, optimize};
use resnet_wgpu::picture::{ChannelOrder, Labels, Preprocess, Resize};

use crate::Refused;

/// Rules of preprocessing have less than 1 kB.
const MAX_RULES_BYTES: u64 = 1 << 20;

/// The prefix of names of repositories.
const REPOSITORY: &str = "hf:";

/// The file that weights refer to: a path, or the cached copy of the repository behind `hf:`,
/// downloaded if necessary.
///
/// # Errors
/// [`Error::Fetch`].
pub fn resolve(weights: &Path, progress: &mut dyn FnMut(&hub::Progress)) -> Result<PathBuf, Error> {
    match repository(weights) {
        Some(name) => hub::cached_or_fetched(&Hub::from_env(), name, progress),
        None => Ok(weights.to_owned()),
    }
}

/// The name of the repository that weights refer to, which may have to be downloaded; `None` for a path.
pub fn repository(weights: &Path) -> Option<&str> {
    weights.to_str()?.strip_prefix(REPOSITORY)
}

/// What the user says about a network.
#[derive(Clone, Debug)]
pub struct NetworkOptions {
    /// The network that the file must hold.
    pub arch: Option<Arch>,
    /// Rows and columns of the image, if not those it was trained with.
    pub size: Option<[usize; 2]>,
    /// The preparation of images: a name or a JSON file.
    pub preprocess: Option<String>,
    /// Which of several networks with the same weights it is.
    pub variant: Option<Variant>,
    /// What no file shows.
    pub settings: BTreeMap<String, String>,
    /// The statistics of batch normalisations.
    pub bn_mode: Option<BnMode>,
    /// Which network of a file it is.
    pub entry: Option<String>,
    /// What makes probabilities of scores.
    pub activation: Option<Activation>,
    /// Whether nothing may be assumed.
    pub strict: bool,
    /// How far layers are merged.
    pub fusion: Fusion,
}

/// A network with the changes that the user makes.
#[derive(Debug)]
pub struct Network {
    /// The network, for any batch and size.
    pub network: network::Network,
    options: ModelOptions,
    /// Its model for the current batch and size.
    pub model: Model,
    /// How far layers are merged.
    pub fusion: Fusion,
    pub(crate) weights: Option<String>,
    /// The time taken to read the weights and build the graph.
    pub weights_ms: f64,
}

impl Network {
    /// Opens a network and builds it for a batch; `weights` names it in results.
    ///
    /// # Errors
    /// Every [`Refused`] about networks, and those of `open`.
    pub fn load<E: From<Refused>>(
        asked: &NetworkOptions,
        batch: usize,
        weights: Option<String>,
        open: impl FnOnce(&ModelOptions) -> Result<network::Network, E>,
    ) -> Result<Self, E> {
        let start = Instant::now();
        let rules = asked.preprocess.as_deref().map(Rules::read).transpose()?;
        let mut options = ModelOptions::default();
        options.batch = batch;
        options.size = asked.size.or(match rules {
            Some(Rules::File(rules)) if rules.for_image(rules.size).is_none() => Some(rules.size),
            _ => None,
        });
        options.arch = asked.arch;
        options.variant = asked.variant;
        options.preprocess = rules.map(|(Rules::Named(rules) | Rules::File(rules))| rules);
        options.settings = asked.settings.clone();
        options.bn_mode = asked.bn_mode;
        options.activation = asked.activation;
        options.entry = asked.entry.clone();
        let network = open(&options)?;
        let model = network.model(&options);
        let mut model = match options.size {
            Some(size) => model.map_err(|error| match error {
                Error::Geometry { .. } | Error::ParameterShape { .. } if asked.size.is_some() => {
                    Refused::Size { size, error }
                }
                error => in_file(error),
            })?,
            // Of its own size it can always be built, or the file is wrong.
            None => model.map_err(Refused::Weights)?,
        };
        if options.size.is_some() && model.preprocess.for_image([1; 2]).is_some() {
            model.preprocess.resize = Resize::Squash;
        }
        check_memory(&model)?;
        if asked.strict {
            refuse_assumptions(&model)?;
        }
        let weights_ms = start.elapsed().as_secs_f64() * 1e3;
        log::debug!("{} is ready after {weights_ms:.0} ms", model.arch);
        Ok(Self {
            network,
            options,
            model,
            fusion: asked.fusion,
            weights,
            weights_ms,
        })
    }

    /// Makes the model for images that were prepared by these rules, and says whether it is another
    /// one.
    ///
    /// # Errors
    /// Those of models for an impossible size.
    pub fn fit(&mut self, rules: &Preprocess) -> Result<bool, Refused> {
        let again = self.model.preprocess != *rules;
        if again {
            let mut options = self.options.clone();
            options.size = Some(rules.size);
            let model = self.network.model(&options).map_err(in_file)?;
            check_memory(&model)?;
            self.model = model;
            self.model.preprocess = *rules;
        }
        Ok(again)
    }

    /// Whether every image is run in a size of its own.
    pub fn is_free(&self) -> bool {
        let rules = &self.network.facts.preprocess;
        self.options.size.is_none() && rules.for_image(rules.size).is_some()
    }

    /// Refuses such a network where all images must have one size.
    ///
    /// # Errors
    /// [`Refused::OwnSizes`].
    pub fn refuse_free(&self) -> Result<(), Refused> {
        if self.is_free() {
            return Err(Refused::OwnSizes);
        }
        Ok(())
    }

    /// Refuses a network that takes arrays where there must be a picture.
    ///
    /// # Errors
    /// [`Refused::Library`].
    pub fn refuse_arrays(&self) -> Result<(), Refused> {
        match self.model.preprocess.channels {
            ChannelOrder::Planes(count) => Err(Refused::Library(Error::Model {
                model: self.model.arch.clone(),
                reason: format!(
                    "its images are arrays of {count} channels, on which no map can be laid; use \
                     `classify` or `embed`"
                ),
            })),
            _ => Ok(()),
        }
    }

    /// Rebuilds the model for another batch size.
    ///
    /// # Errors
    /// Those of models for an impossible batch.
    pub fn set_batch(&mut self, batch: usize) -> Result<(), Refused> {
        if batch != self.options.batch {
            self.options.batch = batch;
            self.model = self.network.model(&self.options).map_err(in_file)?;
            check_memory(&self.model)?;
        }
        Ok(())
    }

    /// The graph after fusion, with the logits and the probabilities as outputs.
    ///
    /// # Errors
    /// Those of the passes.
    pub fn optimized(&self) -> Result<Graph, Error> {
        optimize(&self.model.graph, self.fusion)
    }

    /// The number of multiply-accumulate operations in a run.
    pub fn macs(&self) -> u64 {
        let graph = &self.model.graph;
        graph.nodes().iter().flat_map(|node| graph.macs(node)).sum()
    }

    /// The number of images in a batch.
    pub fn batch(&self) -> usize {
        let image = self.model.graph.value_of(Role::Image);
        image.map_or(1, |image| image.shape.n)
    }

    /// The number of classes.
    ///
    /// # Errors
    /// [`Refused::NoClassifier`].
    pub fn classes(&self) -> Result<usize, Refused> {
        self.model.classes.ok_or_else(|| {
            let classifier = self.model.decisions.get("classifier");
            let remark = classifier.and_then(|found| found.value.strip_prefix("none"));
            Refused::NoClassifier {
                network: self.model.arch.clone(),
                remark: remark.unwrap_or_default().to_owned(),
            }
        })
    }

    /// The class names: those of a file or `imagenet1k` where given, otherwise those of the weights.
    ///
    /// # Errors
    /// [`Refused::Labels`] and [`Refused::NoClassifier`].
    pub fn labels(&self, given: Option<&str>) -> Result<Option<Labels>, Refused> {
        let Some(given) = given else {
            return Ok(self.model.labels.clone());
        };
        let refused = |error| Refused::Labels {
            given: given.to_owned(),
            error,
        };
        let labels = match given {
            "imagenet1k" => Labels::imagenet1k(),
            path => Labels::from_file(path).map_err(refused)?,
        };
        labels.check(self.classes()?).map_err(refused)?;
        Ok(Some(labels))
    }
}

/// Pictures and the tensor of them are made before anything else.
fn check_memory(model: &Model) -> Result<(), Refused> {
    let image = model.graph.value_of(Role::Image)?.shape;
    let what = format!("a batch of {} images of {}x{}", image.n, image.h, image.w);
    let bytes = image.packed_len() as u64 * 4 + image.len() as u64 * 4;
    Ok(host_memory::check(&what, bytes)?)
}

fn in_file(error: Error) -> Refused {
    match error {
        // The file is fine; the image size is not.
        Error::Geometry { .. } => Refused::Library(error),
        _ => Refused::Weights(error),
    }
}

/// Preprocessing as given.
#[derive(Clone, Copy)]
enum Rules {
    /// By name: the network determines the size.
    Named(Preprocess),
    /// From a file, which determines the size.
    File(Preprocess),
}

impl Rules {
    fn read(text: &str) -> Result<Self, Refused> {
        if let Some(rules) = Preprocess::named(text) {
            return Ok(Self::Named(rules));
        }
        let is_file = Path::new(text)
            .extension()
            .is_some_and(|extension| extension.eq_ignore_ascii_case("json"));
        if !is_file {
            return Err(Refused::UnknownPreprocess(text.to_owned()));
        }
        let refused = |reason: String| Refused::File {
            path: text.to_owned(),
            reason,
        };
        let json = read_at_most(Path::new(text), MAX_RULES_BYTES);
        let json = json.map_err(|error| refused(error.to_string()))?;
        let json = String::from_utf8(json).map_err(|error| refused(error.to_string()))?;
        resnet_formats::preprocess(&json)
            .map(Self::File)
            .map_err(|error| refused(error.to_string()))
    }
}

/// Refuses a network about which anything is a guess.
fn refuse_assumptions(model: &Model) -> Result<(), Refused> {
    let guesses: Vec<Decision> = model.decisions.assumed().cloned().collect();
    if guesses.is_empty() {
        return Ok(());
    }
    Err(Refused::Assumed(guesses))
}
