//! Open weight files: a checked table of contents, and tensors that are converted to `f32` on
//! demand.
//!
//! A container is recognised by its first bytes and read by `header` (safetensors) or `torch`
//! (PyTorch), unless it is an index of such files. The names and meanings of tensors are the
//! business of [`resnet_wgpu::internals::network::resnet::Naming`].

use std::borrow::Cow;
use std::collections::{BTreeSet, HashMap};
use std::fmt;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::container::{self, Container};
use super::contents::{Contents, Dtype, Fault, StoredTensor};
use super::{convert, header, shards};
use resnet_wgpu::Error;
use resnet_wgpu::internals::{files, host_memory};

/// An open weight file, or all shards of one.
pub(super) struct WeightFile {
    path: PathBuf,
    parts: Vec<Part>,
    entries: HashMap<String, Located>,
    metadata: HashMap<String, String>,
    format: String,
    /// Paths of all state dicts in a checkpoint; the tensors are those of the first.
    networks: Vec<String>,
}

/// One of the files.
struct Part {
    path: PathBuf,
    bytes: Cow<'static, [u8]>,
}

/// A tensor, and the index of the part that holds it.
struct Located {
    part: usize,
    entry: StoredTensor,
}

impl WeightFile {
    /// Opens a file and checks its table of contents, or does so for every file listed in an index.
    pub(super) fn open(path: &Path, bytes: Vec<u8>, entry: Option<&str>) -> Result<Self, Error> {
        if let Container::Json = container::recognise(&bytes) {
            return Self::open_shards(path, &bytes);
        }
        Self::from_bytes(path, Cow::Owned(bytes), entry)
    }

    /// Checks a file held in memory; `name` takes the place of its path in errors.
    pub(super) fn from_bytes(
        name: &Path,
        bytes: Cow<'static, [u8]>,
        entry: Option<&str>,
    ) -> Result<Self, Error> {
        let part = Part {
            path: name.to_owned(),
            bytes,
        };
        Self::from_part(part, entry)
    }

    fn from_part(part: Part, entry: Option<&str>) -> Result<Self, Error> {
        let contents = part.contents(entry)?;
        let mut file = Self {
            path: part.path.clone(),
            parts: Vec::new(),
            entries: HashMap::new(),
            metadata: HashMap::new(),
            format: contents.format.clone(),
            networks: contents.networks.clone(),
        };
        file.add(part, contents);
        Ok(file)
    }

    fn open_shards(path: &Path, index: &[u8]) -> Result<Self, Error> {
        let shards = shards::read(index).map_err(|fault| fault.in_file(path))?;
        let mut file = Self {
            path: path.to_owned(),
            parts: Vec::new(),
            entries: HashMap::new(),
            metadata: HashMap::new(),
            format: String::new(),
            networks: Vec::new(),
        };
        let count = shards.len();
        for (name, wanted) in shards {
            let shard = path.with_file_name(&name);
            if !shard.exists() {
                return Err(unreadable(
                    path,
                    &format!("the index names '{name}', which is not beside it; download it too"),
                ));
            }
            let part = Part {
                path: shard.clone(),
                bytes: Cow::Owned(bytes_of(&shard)?),
            };
            let contents = part.contents(None)?;
            let held: BTreeSet<String> = contents.entries.keys().cloned().collect();
            let differ = |what: &str, tensor: &str| {
                unreadable(
                    &shard,
                    &format!("{what} tensor '{tensor}': it does not belong to this index"),
                )
            };
            if let Some(tensor) = wanted.difference(&held).next() {
                return Err(differ("the shard lacks", tensor));
            }
            if let Some(tensor) = held.difference(&wanted).next() {
                return Err(differ("the index does not name", tensor));
            }
            file.format = format!("{count} shards of {}", contents.format);
            file.add(part, contents);
        }
        Ok(file)
    }

    fn add(&mut self, part: Part, contents: Contents) {
        let number = self.parts.len();
        self.parts.push(part);
        let entries = contents.entries.into_iter().map(|(name, entry)| {
            let located = Located {
                part: number,
                entry,
            };
            (without_wrappers(name), located)
        });
        self.entries.extend(entries);
        self.metadata.extend(contents.metadata);
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// The format in words.
    pub(super) fn format(&self) -> &str {
        &self.format
    }

    /// Paths of all state dicts in a checkpoint; the tensors are those of the first.
    pub(super) fn networks(&self) -> &[String] {
        &self.networks
    }

    /// Whether two tensors are the same view of the same bytes in the file.
    pub(super) fn are_one(&self, one: &str, other: &str) -> bool {
        let place = |name: &str| {
            let Located { part, entry } = self.entries.get(name)?;
            Some((*part, &entry.range, &entry.dims, &entry.strides))
        };
        place(one).is_some_and(|place_of_one| place(other) == Some(place_of_one))
    }

    /// Whether a tensor has one element or a non-float type, so that it cannot be a weight.
    pub(super) fn is_count(&self, name: &str) -> bool {
        let entry = self.entries.get(name).map(|located| &located.entry);
        entry.is_some_and(|entry| {
            let fractions = matches!(
                entry.dtype,
                Dtype::F32 | Dtype::F16 | Dtype::BF16 | Dtype::F64
            );
            !fractions || entry.dims.iter().product::<usize>() == 1
        })
    }

    /// Names of all tensors, in no particular order.
    pub(super) fn keys(&self) -> impl Iterator<Item = &str> {
        self.entries.keys().map(String::as_str)
    }

    /// The shape of a tensor as stored in the file.
    pub(super) fn dims(&self, key: &str) -> Option<&[usize]> {
        self.entries.get(key).map(|at| &at.entry.dims[..])
    }

    /// The metadata of the file.
    pub(super) const fn metadata(&self) -> &HashMap<String, String> {
        &self.metadata
    }

    /// Reads a tensor of the expected shape, in the layout of the file.
    pub(super) fn read(&self, key: &str, expected: &[usize]) -> Result<Arc<[f32]>, Error> {
        let Located { part, entry } =
            self.entries.get(key).ok_or_else(|| Error::WeightMissing {
                name: key.to_owned(),
                expected: expected.to_vec(),
            })?;
        if entry.dims != expected {
            return Err(Error::WeightShape {
                name: key.to_owned(),
                expected: expected.to_vec(),
                got: entry.dims.clone(),
            });
        }
        let part = &self.parts[*part];
        let outside = || unreadable(&part.path, &format!("tensor '{key}' ends past its storage"));
        let bytes = part.bytes.get(entry.range.clone()).ok_or_else(outside)?;
        let data = match &entry.strides {
            None => convert::to_f32(entry.dtype, bytes),
            Some(strides) => {
                let element_bytes = entry.dtype.element_bytes();
                let rows = convert::gather(bytes, element_bytes, &entry.dims, strides)
                    .ok_or_else(outside)?;
                convert::to_f32(entry.dtype, &rows)
            }
        };
        let data = data.ok_or_else(|| Error::WeightType {
            name: key.to_owned(),
            got: entry.dtype.name().to_owned(),
        })?;
        convert::check_finite(key, &data)?;
        Ok(data)
    }
}

impl fmt::Debug for WeightFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WeightFile")
            .field("path", &self.path)
            .field("format", &self.format)
            .field("tensors", &self.entries.len())
            .field("metadata", &self.metadata)
            .finish_non_exhaustive()
    }
}

impl Part {
    fn contents(&self, entry: Option<&str>) -> Result<Contents, Error> {
        #[cfg(not(feature = "torch"))]
        let _ = entry;
        let data = &self.bytes[..];
        let contents = match container::recognise(data) {
            Container::Safetensors => header::read(data),
            #[cfg(feature = "torch")]
            Container::Zip => super::torch::read_zip(data, entry),
            #[cfg(feature = "torch")]
            Container::Pickle => super::torch::read_legacy(data, entry),
            Container::Json => Err(Fault::damaged(
                "this is a JSON text; an index of shards is opened by its path, and names files of \
                 weights only",
            )),
            Container::Foreign(reason) => Err(Fault::Damaged(reason)),
        };
        contents.map_err(|fault| fault.in_file(&self.path))
    }
}

/// Names of wrapper modules that compute nothing: for compiling, sharding, checkpointing.
const WRAPPERS: &[&str] = &[
    "_orig_mod.",
    "_fsdp_wrapped_module.",
    "_checkpoint_wrapped_module.",
];

/// The name of a tensor in the unwrapped network.
fn without_wrappers(name: String) -> String {
    WRAPPERS.iter().fold(name, |name, wrapper| {
        if name.contains(wrapper) {
            name.replace(wrapper, "")
        } else {
            name
        }
    })
}

/// Reads a non-empty file. A memory map would save the copy, but the system kills a process whose
/// mapped file is truncated.
pub(crate) fn bytes_of(path: &Path) -> Result<Vec<u8>, Error> {
    let io = |source| Error::Io {
        path: path.to_owned(),
        source,
    };
    let mut file = files::open(path).map_err(io)?;
    let length = file.metadata().map_err(io)?.len();
    if length == 0 {
        return Err(unreadable(path, "the file is empty"));
    }
    host_memory::check(&format!("'{}'", path.display()), length)?;
    let mut bytes = Vec::with_capacity(usize::try_from(length).unwrap_or(0));
    file.read_to_end(&mut bytes).map_err(io)?;
    Ok(bytes)
}

fn unreadable(path: &Path, reason: &str) -> Error {
    Fault::damaged(reason).in_file(path)
}
