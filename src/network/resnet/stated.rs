//! What the texts in a weight file and those beside it say of its network.

use std::collections::HashMap;

use crate::network::Activation;
use crate::picture::{Labels, Preprocess};

/// Evidence: `config.json`.
pub const CONFIG: &str = "config.json beside the file";
/// Evidence: `preprocessor_config.json`.
pub const PREPROCESSOR: &str = "preprocessor_config.json beside the file";

/// What was found. Every field that nothing says is `None`.
#[derive(Clone, Debug, Default)]
pub struct Stated {
    /// What the file is, for the record; `None` for made-up weights.
    pub path: Option<String>,
    /// Texts in the file, such as `epsilon` or `classes`.
    pub metadata: HashMap<String, String>,
    /// What stands beside it.
    pub config: Config,
}

/// What the JSON files beside a weight file say.
#[derive(Clone, Debug, Default)]
pub struct Config {
    /// timm's name of the network.
    pub architecture: Option<String>,
    /// Classes that the network has according to the file.
    pub classes: Option<usize>,
    /// Blocks of the stages, according to Hugging Face.
    pub depths: Option<Vec<usize>>,
    /// Whether bottlenecks stride in their first 1×1, according to Hugging Face.
    pub downsample_in_bottleneck: Option<bool>,
    /// Whether the first stage halves the image, according to Hugging Face.
    pub downsample_in_first_stage: Option<bool>,
    /// timm's `fixed` stems: zeros around the image of the max pool.
    pub zero_padded_pool: bool,
    /// How images are prepared, and which file says so.
    pub preprocess: Option<(Preprocess, &'static str)>,
    /// What makes probabilities of the scores.
    pub activation: Option<Activation>,
    /// Whether it says that its classes have no names.
    pub unnamed: bool,
    /// Names of the classes.
    pub labels: Option<Labels>,
}
