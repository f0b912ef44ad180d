//! The index of weights split over several files, in Hugging Face's format:
//! `model.safetensors.index.json` next to `model-00001-of-00002.safetensors`.
//!
//! The JSON text maps each tensor to its file, which must be in the folder of the index.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::Path;

use serde::Deserialize;

use super::contents::Fault;

/// An index of the largest ResNet has 0.1 MB.
pub(crate) const MAX_INDEX_BYTES: usize = 16 << 20;
/// More files than any network is split into.
const MAX_SHARDS: usize = 128;

#[derive(Deserialize)]
struct Index {
    weight_map: HashMap<String, String>,
}

/// The names of the tensors in each file, by file name.
pub(crate) fn read(data: &[u8]) -> Result<BTreeMap<String, BTreeSet<String>>, Fault> {
    if data.len() > MAX_INDEX_BYTES {
        return Err(Fault::Damaged(format!(
            "{} bytes of JSON are too many for an index of weights",
            data.len()
        )));
    }
    let index: Index = serde_json::from_slice(data).map_err(|error| {
        Fault::Damaged(format!(
            "this is JSON, but not an index of weights with a `weight_map` ({error}); give the \
             weight file itself"
        ))
    })?;
    let mut shards: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for (tensor, file) in index.weight_map {
        if !is_plain(&file) {
            return Err(Fault::Damaged(format!(
                "the index wants tensor '{tensor}' from '{file}'; only files beside the index are \
                 read"
            )));
        }
        shards.entry(file).or_default().insert(tensor);
    }
    match shards.len() {
        0 => Err(Fault::damaged("the index names no tensor")),
        1..=MAX_SHARDS => Ok(shards),
        count => Err(Fault::Damaged(format!(
            "the index names {count} files, at most {MAX_SHARDS} are accepted"
        ))),
    }
}

/// Whether a name stays within its folder on every system: no separators, no drive, not the parent.
fn is_plain(name: &str) -> bool {
    !name.is_empty()
        && name != "."
        && name != ".."
        && name.len() <= 255
        && !name.contains(|c: char| c.is_control() || "/\\:".contains(c))
}

/// What a file is whose name is that of one of several shards, such as `model-00001-of-00002.safetensors`.
pub(crate) fn part(path: &Path) -> Option<String> {
    let name = path.file_name()?.to_str()?;
    let (stem, ending) = name.rsplit_once('.')?;
    let (before, count) = stem.rsplit_once("-of-")?;
    let (base, number) = before.rsplit_once('-')?;
    let digits = |text: &str| text.parse::<u32>().ok().filter(|_| text.len() == 5);
    let (number, count) = (digits(number)?, digits(count)?);
    (count > 1).then(|| {
        format!(
            "this is shard {number} of {count}; name the file that lists all of them, \
             '{base}.{ending}.index.json'"
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_leave_the_folder_are_refused() {
        for name in [
            "../up.safetensors",
            "/etc/passwd",
            "..",
            "",
            ".",
            "a/b",
            "a\\b",
            "C:x",
            "a\0",
            "a\u{1b}[2J",
        ] {
            assert!(!is_plain(name), "{name}");
        }
        for name in ["model-00001-of-00002.safetensors", "..b", "a b"] {
            assert!(is_plain(name), "{name}");
        }
    }

    #[test]
    fn a_shard_alone_names_its_index() {
        let shard = part(Path::new("a/model-00001-of-00002.safetensors"));
        let shard = shard.expect("a shard");
        assert!(
            shard.contains("shard 1 of 2") && shard.contains("'model.safetensors.index.json'"),
            "{shard}"
        );
        for whole in [
            "model.safetensors",
            "model-00001-of-00001.safetensors",
            "best-of-three.pth",
            "a-1-of-2.bin",
        ] {
            assert_eq!(part(Path::new(whole)), None, "{whole}");
        }
    }

    #[test]
    fn tensors_are_grouped_by_file() {
        let shards = read(br#"{"metadata":{},"weight_map":{"a":"1","b":"2","c":"1"}}"#);
        let shards = shards.expect("an index");
        assert_eq!(shards["1"].iter().collect::<Vec<_>>(), ["a", "c"], "file 1");
        assert_eq!(shards["2"].len(), 1, "file 2");
        for text in ["{}", r#"{"weight_map":{}}"#, r#"{"weight_map":{"a":1}}"#] {
            assert!(read(text.as_bytes()).is_err(), "{text}");
        }
    }
}
