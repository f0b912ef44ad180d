//! The companions of a weight file, in folders written by Keras and `KerasHub`.
//!
//! `model.save(folder, zipped=False)` writes the parts of a `.keras` archive as separate files. A
//! `KerasHub` preset has the same files for the backbone, and two more for the classifier.

use std::ffi::OsStr;
use std::path::Path;

use serde_json::Value;

use super::Fault;
use super::archive::{self, Archive, CONFIG, METADATA, TASK_WEIGHTS, WEIGHTS, version};
use super::store::Store;
use crate::sidecar;
use crate::weights::bytes::Bytes;

/// Describes the classifier, its backbone and its preprocessing.
const TASK: &str = "task.json";

/// Completes an archive with the files that lie beside it.
pub(super) fn describe(archive: &mut Archive, path: &Path) -> Result<(), Fault> {
    let name = path.file_name().and_then(OsStr::to_str).unwrap_or_default();
    if archive.config.is_some() || ![WEIGHTS, TASK_WEIGHTS].contains(&name) {
        return Ok(());
    }
    let beside = |name: &str| path.with_file_name(name);
    let is_task = [TASK, TASK_WEIGHTS, WEIGHTS]
        .iter()
        .all(|name| beside(name).is_file());
    if is_task && let Some(config) = description(&beside(TASK)) {
        archive.store = open(&beside(TASK_WEIGHTS))?;
        archive.backbone = Some(open(&beside(WEIGHTS))?);
        archive.config = Some(config);
        archive.described_by = "'task.json' beside it describes the network";
    } else if name == TASK_WEIGHTS {
        return Err(Fault(format!(
            "a preset's classifier alone; '{WEIGHTS}' and '{TASK}' of the preset must be beside it"
        )));
    } else if let Some(config) = description(&beside(CONFIG)) {
        archive.config = Some(config);
        archive.described_by = "'config.json' beside it describes the network";
    } else {
        return Ok(());
    }
    archive.format = "HDF5 weights of Keras in their folder";
    archive.written_by = sidecar::text(&beside(METADATA)).and_then(|metadata| version(&metadata));
    Ok(())
}

/// The text of a Keras description; other libraries have files of the same name.
fn description(path: &Path) -> Option<String> {
    let text = sidecar::text(path)?;
    match serde_json::from_str::<Value>(&text) {
        Ok(value) => value.get("class_name").is_some().then_some(text),
        Err(error) => {
            log::warn!("'{}' is not read: {error}", path.display());
            None
        }
    }
}

fn open(path: &Path) -> Result<Store, Fault> {
    let refuse = |reason: String| Fault(format!("'{}': {reason}", path.display()));
    let source = Bytes::open(path).map_err(|error| Fault(error.to_string()))?;
    archive::store(&source, 0..source.len()).map_err(|Fault(reason)| refuse(reason))
}
