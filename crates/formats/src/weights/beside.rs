//! The JSON files that stand beside a weight file and may describe it.

use std::fs::File;
use std::io::Read;
use std::path::Path;

/// A `config.json` with the names of 21,841 classes has 2 MB.
const MAX_BYTES: u64 = 16 << 20;

/// Their texts, where they exist. What they mean is for [`crate::models`] to say.
#[derive(Clone, Debug, Default)]
pub(crate) struct Beside {
    /// `config.json`, as timm and Hugging Face write it.
    pub(crate) config: Option<String>,
    /// `preprocessor_config.json`, as Hugging Face writes it.
    pub(crate) preprocessor: Option<String>,
}

impl Beside {
    /// Looks beside a weight file.
    pub(super) fn of(weights: &Path) -> Self {
        Self {
            config: read(&weights.with_file_name("config.json")),
            preprocessor: read(&weights.with_file_name("preprocessor_config.json")),
        }
    }
}

/// The text of a file that exists. The weights can do without it, so that what cannot be read is a
/// warning.
pub(crate) fn read(path: &Path) -> Option<String> {
    let file = File::open(path).ok()?;
    let mut text = String::new();
    match file.take(MAX_BYTES + 1).read_to_string(&mut text) {
        Ok(_) if text.len() as u64 <= MAX_BYTES => Some(text),
        Ok(_) => {
            log::warn!("'{}' is not read: it is too large", path.display());
            None
        }
        Err(error) => {
            log::warn!("'{}' is not read: {error}", path.display());
            None
        }
    }
}
