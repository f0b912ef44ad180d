//! What the metadata and side-car files of a weight file state about the network.

use std::collections::HashMap;

use crate::network::{Activation, Decision};
use crate::picture::{Labels, Preprocess};

/// Evidence: `config.json`.
pub const CONFIG: &str = "config.json beside the file";
/// Evidence: `preprocessor_config.json`.
pub const PREPROCESSOR: &str = "preprocessor_config.json beside the file";

/// What was found. A field is `None` if nothing states it.
#[derive(Clone, Debug, Default)]
pub struct Stated {
    /// The path of the file, for the record; `None` for random weights.
    pub path: Option<String>,
    /// What else the file holds that might have been meant.
    pub beside: Option<Decision>,
    /// How images are prepared according to what stands beside the weights, and how sure that is.
    pub prepared: Option<(Preprocess, Decision)>,
    /// The file's metadata, such as `epsilon` or `classes`.
    pub metadata: HashMap<String, String>,
    /// The contents of its side-car files.
    pub config: Config,
}

impl Stated {
    /// The name of the architecture, and where it is stated.
    pub(super) fn architecture(&self) -> Option<(&str, &str)> {
        let beside = self
            .config
            .architecture
            .as_deref()
            .map(|name| (name, CONFIG));
        let text = |key: &str| self.metadata.get(key).map(String::as_str);
        let within = text("architecture");
        let evidence = text("said by").unwrap_or("metadata of the file");
        beside.or(within.map(|name| (name, evidence)))
    }

    /// The word in the names of the file and its folder that `is_name` knows.
    pub(super) fn named_by_path(&self, is_name: impl Fn(&str) -> bool) -> Option<&str> {
        let path = self.path.as_deref()?;
        let names = path.rsplit(['/', '\\']).take(2);
        let words = names.flat_map(|name| name.split(['-', '.', ' ', '@', '+']));
        // Some join the name of a network and other words by underscores: `timm_resnet50_gn`.
        let starts = words.flat_map(|word| {
            let after = word.match_indices('_').map(|(at, _)| &word[at + 1..]);
            std::iter::once(word).chain(after)
        });
        let mut names = starts.filter(|word| is_name(word));
        names.next()
    }

    /// The global pool that a file states by timm's name for it, and where.
    pub(super) fn pool(&self) -> Option<(&str, &str)> {
        let beside = self.config.global_pool.as_deref();
        let within = self.metadata.get("global_pool").map(String::as_str);
        let within = within.map(|pool| {
            if ["fast", "fastavg"].contains(&pool) {
                "avg"
            } else {
                pool
            }
        });
        let evidence = self
            .metadata
            .get("said by")
            .map_or("metadata of the file", String::as_str);
        beside
            .map(|pool| (pool, CONFIG))
            .or(within.map(|pool| (pool, evidence)))
    }
}

/// The contents of the JSON files next to a weight file.
#[derive(Clone, Debug, Default)]
pub struct Config {
    /// timm's name for the network.
    pub architecture: Option<String>,
    /// The number of classes that the side-car file states.
    pub classes: Option<usize>,
    /// The number of blocks in each stage, according to Hugging Face.
    pub depths: Option<Vec<usize>>,
    /// Whether bottlenecks stride in their first 1×1, according to Hugging Face.
    pub downsample_in_bottleneck: Option<bool>,
    /// Whether the first stage halves the image, according to Hugging Face.
    pub downsample_in_first_stage: Option<bool>,
    /// timm's name for the pool before the classifier.
    pub global_pool: Option<String>,
    /// The stride of the whole backbone, if smaller than usual, according to timm.
    pub output_stride: Option<usize>,
    /// Whether the max pool's input is padded with zeros, as in timm's `fixed` stems.
    pub zero_padded_pool: bool,
    /// The preprocessing, and the file that states it.
    pub preprocess: Option<(Preprocess, &'static str)>,
    /// The activation that turns scores into probabilities.
    pub activation: Option<Activation>,
    /// Whether the file states that its classes have no names.
    pub unnamed: bool,
    /// The names of the classes.
    pub labels: Option<Labels>,
}
