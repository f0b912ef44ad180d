//! The network that the flags ask for: weights, preprocessing and labels.

use std::path::Path;
use std::time::Instant;

use resnet_wgpu::Error;
use resnet_wgpu::graph::{Graph, Role};
use resnet_wgpu::internals::files::read_at_most;
use resnet_wgpu::internals::host_memory;
use resnet_wgpu::internals::noise::Noise;
use resnet_wgpu::network::{self, Activation, Arch, Decision, Model, ModelOptions};
use resnet_wgpu::passes::{Fusion, optimize};
use resnet_wgpu::picture::Labels;
use resnet_wgpu::picture::Preprocess;
use resnet_wgpu::tensor::Tensor;
use serde::Serialize;
use twox_hash::xxhash3_128;

use crate::args::{LabelArgs, NetworkArgs};
use crate::bundled;
use crate::failure::Failure;
use crate::fetch;
use crate::stats::milliseconds;

/// Maximum size of a preprocessing file; real ones have less than 1 kB.
const MAX_RULES_BYTES: u64 = 1 << 20;
/// The seed of random weights.
const SEED: u64 = 0;

/// A network with the changes that the flags make.
#[derive(Debug)]
pub(crate) struct Network {
    pub(crate) network: network::Network,
    options: ModelOptions,
    pub(crate) model: Model,
    pub(crate) fusion: Fusion,
    weights: Option<String>,
    /// The time taken to read the weights and build the graph.
    pub(crate) weights_ms: f64,
}

/// The description of a network in the results.
#[derive(Debug, Serialize)]
pub(crate) struct ModelInfo {
    pub(crate) name: String,
    pub(crate) family: &'static str,
    /// Null for random weights.
    pub(crate) weights: Option<String>,
    /// Null without a classifier.
    pub(crate) classes: Option<usize>,
    /// The activation that turns its scores into probabilities.
    pub(crate) activation: Option<&'static str>,
    pub(crate) size: [usize; 2],
    pub(crate) parameters: usize,
    pub(crate) macs_per_image: u64,
    pub(crate) fusion: String,
}

impl ModelInfo {
    pub(crate) fn classes_in_words(&self) -> String {
        match self.classes {
            Some(classes) => format!("{classes} classes"),
            None => "no classifier".to_owned(),
        }
    }
}

impl Network {
    /// Reads or generates the weights and builds the network for a batch.
    pub(crate) fn load(args: &NetworkArgs, batch: usize) -> Result<Self, Failure> {
        let start = Instant::now();
        let choices = &args.choices;
        let rules = choices.preprocess.as_deref().map(Rules::read).transpose()?;
        let options = ModelOptions {
            batch,
            size: choices.size.or(match &rules {
                Some(Rules::File(rules)) => Some(rules.size),
                _ => None,
            }),
            arch: args.arch,
            variant: choices.variant,
            settings: choices.set.iter().cloned().collect(),
            bn_mode: choices.bn_mode,
            activation: choices.activation,
            entry: choices.entry.clone(),
            ..ModelOptions::default()
        };
        let mut network = match (&args.weights, args.arch) {
            (Some(path), _) => {
                let opened = resnet_formats::open(fetch::resolve(path)?, &options);
                opened.map_err(|error| Failure::weights(&error))?
            }
            (None, Some(arch)) => made_up(arch, &options)?,
            (None, None) => bundled::open(&options)?,
        };
        if let Some(rules) = rules {
            apply(rules, &mut network);
        }
        let model = network.model(&options);
        let model = match options.size {
            Some(_) => model.map_err(in_file)?,
            // At its own size a network can always be built, unless the file is wrong.
            None => model.map_err(|error| Failure::weights(&error))?,
        };
        check_memory(&model)?;
        if choices.strict {
            refuse_assumptions(&model)?;
        }
        let weights_ms = milliseconds(start.elapsed());
        log::debug!("{} is ready after {weights_ms:.0} ms", model.arch);
        Ok(Self {
            network,
            options,
            model,
            fusion: args.fusion,
            weights: match (&args.weights, args.arch) {
                (Some(path), _) => Some(path.display().to_string()),
                (None, Some(_)) => None,
                (None, None) => Some(bundled::NAME.to_owned()),
            },
            weights_ms,
        })
    }

    /// Makes the model for images that were prepared by these rules; returns whether it changed.
    pub(crate) fn fit(&mut self, rules: &Preprocess) -> Result<bool, Failure> {
        let again = self.model.preprocess != *rules;
        if again {
            let options = ModelOptions {
                size: Some(rules.size),
                ..self.options.clone()
            };
            self.model = self.network.model(&options).map_err(in_file)?;
            check_memory(&self.model)?;
            self.model.preprocess = *rules;
        }
        Ok(again)
    }

    /// Whether every image runs in its own size.
    pub(crate) fn is_free(&self) -> bool {
        let rules = &self.network.facts.preprocess;
        self.options.size.is_none() && rules.for_image(rules.size).is_some()
    }

    /// Refuses such a network if all images must have the same size.
    pub(crate) fn refuse_free(&self) -> Result<(), Failure> {
        if self.is_free() {
            return Err(Failure::unsure(
                "its preprocessing gives every image a size of its own, which only `classify` \
                 follows; state one with --size",
            ));
        }
        Ok(())
    }

    /// Logs what was assumed about the weights, as it affects the results.
    pub(crate) fn note_assumptions(&self) {
        for decision in self.model.decisions.assumed() {
            log::info!("nothing says the {}", guess(decision));
        }
    }

    /// Rebuilds the model for another batch size.
    pub(crate) fn set_batch(&mut self, batch: usize) -> Result<(), Failure> {
        if batch != self.options.batch {
            self.options.batch = batch;
            self.model = self.network.model(&self.options).map_err(in_file)?;
            check_memory(&self.model)?;
        }
        Ok(())
    }

    /// The graph after fusion, with the logits and the probabilities as outputs.
    pub(crate) fn optimized(&self) -> Result<Graph, Failure> {
        Ok(optimize(&self.model.graph, self.fusion)?)
    }

    /// A hash that changes with any parameter: XXH3-128 over name, dimensions and 32-bit floats of
    /// each parameter in network order, before fusion. Names end with a zero byte; dimensions are
    /// 64-bit and preceded by their count; everything is little-endian.
    pub(crate) fn weights_hash(&self) -> u128 {
        let mut hasher = xxhash3_128::Hasher::new();
        for param in self.model.graph.params() {
            hasher.write(param.name.as_bytes());
            hasher.write(&[0]);
            let dims = param.tensor.dims();
            for size in std::iter::once(dims.len()).chain(dims.iter().copied()) {
                hasher.write(&(size as u64).to_le_bytes());
            }
            for block in param.tensor.data().chunks(1024) {
                let bytes: Vec<u8> = block.iter().flat_map(|x| x.to_le_bytes()).collect();
                hasher.write(&bytes);
            }
        }
        hasher.finish_128()
    }

    /// The number of multiply-accumulate operations in a run.
    pub(crate) fn macs(&self) -> u64 {
        let graph = &self.model.graph;
        graph.nodes().iter().flat_map(|node| graph.macs(node)).sum()
    }

    /// Noise in the shape of the input, in about the range of a normalised image.
    pub(crate) fn noise(&self) -> Result<Tensor, Failure> {
        let image = self.model.graph.value_of(Role::Image)?;
        Ok(Noise::new(1).tensor(&image.shape.dims()))
    }

    /// The number of images in a batch.
    pub(crate) fn batch(&self) -> usize {
        let image = self.model.graph.value_of(Role::Image);
        image.map_or(1, |image| image.shape.n)
    }

    /// The description of the network in the results.
    pub(crate) fn info(&self) -> ModelInfo {
        ModelInfo {
            name: self.model.arch.clone(),
            family: self.model.family.name(),
            weights: self.weights.clone(),
            classes: self.model.classes,
            activation: self.model.activation.map(Activation::name),
            size: self.model.size(),
            parameters: self.model.parameter_count(),
            macs_per_image: self.macs() / self.batch() as u64,
            fusion: self.fusion.to_string(),
        }
    }

    /// The number of classes, for commands that need them.
    pub(crate) fn classes(&self) -> Result<usize, Failure> {
        self.model.classes.ok_or_else(|| {
            let name = &self.model.arch;
            let classifier = self.model.decisions.get("classifier");
            let remark = classifier.and_then(|found| found.value.strip_prefix("none"));
            let remark = remark.unwrap_or_default();
            Failure::unsure(format!("{name}: it has no classifier{remark}; use `embed`"))
        })
    }

    /// The class names: those given by a flag, otherwise those of the weights.
    pub(crate) fn labels(&self, args: &LabelArgs) -> Result<Option<Labels>, Failure> {
        if let Some(asked) = &args.labels {
            let labels = match asked.as_str() {
                "imagenet1k" => Labels::imagenet1k(),
                path => Labels::from_file(path)
                    .map_err(|error| Failure::runtime(format!("--labels {path}: {error}")))?,
            };
            labels
                .check(self.classes()?)
                .map_err(|error| Failure::runtime(format!("--labels {asked}: {error}")))?;
            return Ok(Some(labels));
        }
        Ok(self.model.labels.clone())
    }
}

/// Checks that memory suffices for the pictures and the input tensor, which come first.
fn check_memory(model: &Model) -> Result<(), Failure> {
    let image = model.graph.value_of(Role::Image)?.shape;
    let what = format!("a batch of {} images of {}x{}", image.n, image.h, image.w);
    let bytes = image.packed_len() as u64 * 4 + image.len() as u64 * 4;
    Ok(host_memory::check(&what, bytes)?)
}

fn in_file(error: Error) -> Failure {
    match error {
        // The file is fine; the image size is not.
        Error::Geometry { .. } => Failure::from(error),
        _ => Failure::weights(&error),
    }
}

fn made_up(arch: Arch, options: &ModelOptions) -> Result<network::Network, Failure> {
    log::info!(
        "no --weights: {arch} with made-up numbers (Glorot uniform, seed {SEED}), whose answers \
         mean nothing"
    );
    Ok(arch.made_up(SEED, options)?)
}

/// Preprocessing as given by `--preprocess`.
enum Rules {
    /// By name: the network determines the size.
    Named(Preprocess),
    /// From a file, which determines the size.
    File(Preprocess),
}

impl Rules {
    fn read(text: &str) -> Result<Self, Failure> {
        if let Some(rules) = Preprocess::named(text) {
            return Ok(Self::Named(rules));
        }
        let is_file = Path::new(text)
            .extension()
            .is_some_and(|extension| extension.eq_ignore_ascii_case("json"));
        if !is_file {
            return Err(Failure::usage(format!(
                "--preprocess '{text}' is no name and no JSON file; the names are {}",
                Preprocess::NAMES.join(", ")
            )));
        }
        let unreadable = |error: String| Failure::runtime(format!("cannot read '{text}': {error}"));
        let json = read_at_most(Path::new(text), MAX_RULES_BYTES);
        let json = json.map_err(|error| unreadable(error.to_string()))?;
        let json = String::from_utf8(json).map_err(|error| unreadable(error.to_string()))?;
        resnet_formats::preprocess(&json)
            .map(Self::File)
            .map_err(|error| Failure::runtime(format!("'{text}': {error}")))
    }
}

fn apply(rules: Rules, network: &mut network::Network) {
    let (Rules::Named(rules) | Rules::File(rules)) = rules;
    let facts = &mut network.facts;
    let decision = Decision::certain("preprocessing", rules.to_string(), "--preprocess");
    facts.decisions.record(decision);
    facts.preprocess = rules;
}

/// Fails if anything about the network was assumed.
fn refuse_assumptions(model: &Model) -> Result<(), Failure> {
    let guesses: Vec<String> = model.decisions.assumed().map(guess).collect();
    if guesses.is_empty() {
        return Ok(());
    }
    Err(Failure::unsure(format!(
        "--strict: nothing says the {}",
        guesses.join("; nothing says the ")
    )))
}

/// An assumption, and the flag that would replace it with a fact.
fn guess(decision: &Decision) -> String {
    let Decision {
        what,
        value,
        evidence,
        ..
    } = decision;
    let flag = match *what {
        "preprocessing" => "; state it with --preprocess",
        "size" => "; state it with --size",
        "entry" => "; choose it with --entry",
        "activation" => "; state it with --activation",
        "stride" | "variant" => "; state it with --variant",
        "max pool" => "; state it with --set stem_pool=none or max",
        _ => "",
    };
    format!("{what}, taken to be '{value}' ({evidence}){flag}")
}
