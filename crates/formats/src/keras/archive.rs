//! Containers: a bare HDF5 file, or a `.keras` zip archive with an HDF5 file and JSON texts inside.

use std::io;
use std::ops::Range;
use std::sync::Arc;

use hdf5_reader::storage::{Storage, StorageBuffer};
use serde_json::Value;

use super::store::{Saved, Store};
use super::{Fault, hub};
use crate::weights::bytes::Bytes;
use crate::weights::zip;

/// The first bytes of every HDF5 file.
pub(crate) const HDF5: &[u8] = b"\x89HDF\r\n\x1a\n";

pub(super) const WEIGHTS: &str = "model.weights.h5";
/// In a `KerasHub` preset, the weights of the classifier without its backbone.
pub(super) const TASK_WEIGHTS: &str = "task.weights.h5";
pub(super) const CONFIG: &str = "config.json";
pub(super) const METADATA: &str = "metadata.json";

const IN_FILE: &str = "the file describes its network";

/// Maximum length of a description, which is 0.5 MB for a ResNet-152. Keeps a hostile file from
/// making the JSON parser allocate gigabytes.
const MAX_TEXT_BYTES: usize = 16 << 20;

/// An open file.
pub(super) struct Archive {
    pub(super) store: Store,
    /// The weights of the backbone, if `store` holds only those of the classifier.
    pub(super) backbone: Option<Store>,
    /// The JSON description of the network, if there is one.
    pub(super) config: Option<String>,
    /// Where the description was found, as evidence for decisions.
    pub(super) described_by: &'static str,
    /// The format, in words.
    pub(super) format: &'static str,
    /// The Keras version and, for HDF5 files, the backend that wrote the file.
    pub(super) written_by: Option<String>,
    /// Whether Theano wrote it: its convolutions flip the kernel.
    pub(super) theano: bool,
}

/// A byte range of a file, read as a file of its own.
struct Section {
    source: Bytes,
    range: Range<usize>,
}

impl Storage for Section {
    fn len(&self) -> u64 {
        self.range.len() as u64
    }

    fn read_range(&self, offset: u64, len: usize) -> hdf5_reader::error::Result<StorageBuffer> {
        use hdf5_reader::error::Error;
        let start = usize::try_from(offset).ok();
        let end = start.and_then(|start| start.checked_add(len));
        let (Some(start), Some(end)) = (start, end.filter(|&end| end <= self.range.len())) else {
            return Err(Error::OffsetOutOfBounds(offset));
        };
        let base = self.range.start;
        match &self.source {
            Bytes::Memory(bytes) => {
                StorageBuffer::from_shared_owner(Arc::clone(bytes) as _, base + start, len)
            }
            Bytes::File(..) => {
                let bytes = self.source.read(base + start..base + end);
                let bytes =
                    bytes.map_err(|fault| Error::Io(io::Error::other(fault.to_string())))?;
                Ok(StorageBuffer::from_vec(bytes.into_owned()))
            }
        }
    }
}

/// The variables of a part of a file.
pub(super) fn store(source: &Bytes, range: Range<usize>) -> Result<Store, Fault> {
    let source = source.clone();
    Store::open(Arc::new(Section { source, range }))
}

impl Archive {
    /// Opens a file of either container, whose tensors are read when they are needed.
    pub(super) fn open(source: &Bytes) -> Result<Self, Fault> {
        if source.head()?.starts_with(HDF5) {
            return Self::open_hdf5(source);
        }
        Self::open_zip(source)
    }

    /// Lists the variables, those of the backbone included.
    pub(super) fn saved(&self) -> Result<Saved, Fault> {
        let Some(backbone) = &self.backbone else {
            return self.store.saved();
        };
        let of = |store: &Store, file: &str| {
            let saved = store.saved();
            saved.map_err(|Fault(reason)| Fault(format!("'{file}' of the preset: {reason}")))
        };
        let backbone = of(backbone, WEIGHTS)?;
        of(&self.store, TASK_WEIGHTS)?.around(hub::BACKBONE_GROUP, backbone)
    }

    fn open_hdf5(source: &Bytes) -> Result<Self, Fault> {
        let store = store(source, 0..source.len())?;
        let config = store.text("model_config")?;
        if config
            .as_ref()
            .is_some_and(|config| config.len() > MAX_TEXT_BYTES)
        {
            return Err(Fault(
                "the description of the network is too long".to_owned(),
            ));
        }
        let backend = store.text("backend")?;
        let written_by = store.text("keras_version")?.map(|version| {
            let backend = backend.as_deref().unwrap_or("an unknown backend");
            format!("Keras {version} with {backend}")
        });
        Ok(Self {
            format: match config {
                Some(_) => "HDF5 model of Keras",
                None => "HDF5 weights of Keras",
            },
            store,
            backbone: None,
            config,
            described_by: IN_FILE,
            written_by,
            theano: backend.as_deref() == Some("theano"),
        })
    }

    fn open_zip(source: &Bytes) -> Result<Self, Fault> {
        let archive = zip::Archive::open(source)?;
        let text = |name: &str| -> Result<Option<String>, Fault> {
            let Some(range) = archive.find(name.as_bytes())? else {
                return Ok(None);
            };
            if range.len() > MAX_TEXT_BYTES {
                return Err(Fault(format!("'{name}' in the archive is too long")));
            }
            let text = String::from_utf8(source.read(range)?.into_owned());
            text.map(Some)
                .map_err(|_| Fault(format!("'{name}' in the archive is not text")))
        };
        let lacks =
            |name: &str, what: &str| Fault(format!("the archive has no '{name}', which {what}"));
        let config = text(CONFIG)?.ok_or_else(|| lacks(CONFIG, "describes the network"))?;
        let written_by = text(METADATA)?.and_then(|text| version(&text));
        let weights = archive.find(WEIGHTS.as_bytes())?;
        let weights = weights.ok_or_else(|| lacks(WEIGHTS, "holds the weights"))?;
        Ok(Self {
            store: store(source, weights)?,
            backbone: None,
            config: Some(config),
            described_by: IN_FILE,
            format: "Keras 3 archive",
            written_by,
            theano: false,
        })
    }
}

/// The Keras version stated in a `metadata.json`.
pub(super) fn version(metadata: &str) -> Option<String> {
    let metadata: Value = serde_json::from_str(metadata).ok()?;
    let version = metadata.get("keras_version")?.as_str()?;
    Some(format!("Keras {version}"))
}

/// Whether a zip archive is of Keras.
pub(super) fn is_archive(source: &Bytes) -> bool {
    let archive = zip::Archive::open(source);
    archive.is_ok_and(|archive| archive.names().any(|name| name == WEIGHTS.as_bytes()))
}
