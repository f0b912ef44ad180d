//! Finds the weight file in a folder, if there is an obvious one.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use resnet_wgpu::Error;

/// The usual file names of weights, in order of preference.
pub(crate) const USUAL: &[&str] = &[
    "model.safetensors",
    "model.safetensors.index.json",
    "pytorch_model.bin",
    "pytorch_model.bin.index.json",
];

/// File name extensions of other weight files.
const ENDINGS: &[&str] = &[
    "safetensors",
    "pth",
    "pt",
    "ckpt",
    "tar",
    "bin",
    "onnx",
    "keras",
    "h5",
    "hdf5",
];

/// The path itself, or, for a folder, the path of the weight file in it.
///
/// # Errors
/// [`Error::WeightsUnreadable`] for a folder that has no weight file, or several.
pub(crate) fn resolve(path: &Path) -> Result<PathBuf, Error> {
    if !path.is_dir() {
        return Ok(path.to_owned());
    }
    let refuse = |reason: String| Error::WeightsUnreadable {
        path: path.to_owned(),
        reason,
    };
    if let Some(usual) = USUAL
        .iter()
        .map(|name| path.join(name))
        .find(|path| path.is_file())
    {
        return Ok(usual);
    }
    let foreign = [
        (
            "saved_model.pb",
            "a SavedModel of TensorFlow; save the network with `model.save(\"network.keras\")`",
        ),
        (
            ".metadata",
            "a distributed checkpoint of PyTorch; make one file of it with `python -m torch.distributed.checkpoint.format_utils dcp_to_torch FOLDER FILE.pth`",
        ),
    ];
    if let Some((_, what)) = foreign.iter().find(|(name, _)| path.join(name).exists()) {
        return Err(refuse(format!("this is {what}")));
    }
    let entries = std::fs::read_dir(path).map_err(|source| Error::Io {
        path: path.to_owned(),
        source,
    })?;
    let is_weights = |path: &PathBuf| {
        let ending = path.extension().and_then(OsStr::to_str).unwrap_or_default();
        path.is_file() && ENDINGS.contains(&ending.to_lowercase().as_str())
    };
    let found = entries.filter_map(|entry| Some(entry.ok()?.path()));
    let mut found: Vec<PathBuf> = found.filter(is_weights).collect();
    found.sort();
    match &found[..] {
        [one] => Ok(one.clone()),
        [] => Err(refuse("this folder has no weight file".to_owned())),
        several => {
            let names = several.iter().filter_map(|path| path.file_name()).take(8);
            let names = names.map(|name| format!("'{}'", name.display()));
            let names = names.collect::<Vec<_>>().join(", ");
            Err(refuse(format!(
                "this folder has several weight files, name one: {names}"
            )))
        }
    }
}
