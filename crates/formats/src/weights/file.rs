//! Open weight files: a checked table of contents, and tensors that are converted to `f32` on
//! demand.
//!
//! A container is recognised by its first bytes and read by `header` (safetensors) or `torch`
//! (PyTorch), unless it is an index of such files. The names and meanings of tensors are the
//! business of [`resnet_wgpu::internals::network::resnet::Naming`].

use std::borrow::Cow;
use std::collections::{BTreeSet, HashMap};
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use half::f16;

use super::bytes::Bytes;
use super::container::{self, Container};
use super::contents::{Contents, Dtype, Fault, StoredTensor};
use super::shards::{self, MAX_INDEX_BYTES};
use super::{convert, header};
use resnet_wgpu::Error;
use resnet_wgpu::tensor::Tensor;

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
    source: Bytes,
}

/// A tensor, and the index of the part that holds it.
struct Located {
    part: usize,
    entry: StoredTensor,
}

impl WeightFile {
    /// Checks the table of contents of a file, or those of all files of an index, which it reads.
    pub(super) fn open(path: &Path, source: Bytes, entry: Option<&str>) -> Result<Self, Error> {
        let in_file = |fault: Fault| fault.in_file(path);
        if let Container::Json = container::recognise(&source.head().map_err(in_file)?) {
            // One byte more, which tells that it is too long.
            let index = source.read(0..source.len().min(MAX_INDEX_BYTES + 1));
            return Self::open_shards(path, &index.map_err(in_file)?);
        }
        Self::of_memory(path, source, entry)
    }

    /// Checks one file, beside which nothing is; `name` stands for its path in errors.
    pub(super) fn of_memory(
        name: &Path,
        source: Bytes,
        entry: Option<&str>,
    ) -> Result<Self, Error> {
        let part = Part {
            path: name.to_owned(),
            source,
        };
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
                source: Bytes::open(&shard)?,
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

    /// Whether a tensor is stored in half precision.
    pub(super) fn is_half(&self, name: &str) -> bool {
        let entry = self.entries.get(name).map(|located| &located.entry);
        entry.is_some_and(|entry| entry.dtype == Dtype::F16)
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

    /// Reads a tensor of a known shape, in the order of the file, as a tensor of other dimensions with the
    /// same numbers. Halves stay halves.
    pub(super) fn tensor(
        &self,
        key: &str,
        expected: &[usize],
        dims: &[usize],
    ) -> Result<Tensor, Error> {
        let (part, entry) = self.find(key, expected)?;
        if entry.dtype == Dtype::F16 {
            let bytes = part.bytes(entry).map_err(|fault| part.fault(key, &fault))?;
            let words = bytes.as_chunks::<2>().0.iter();
            let halves: Vec<f16> = words.map(|&word| f16::from_le_bytes(word)).collect();
            if halves.iter().all(|half| half.is_finite()) {
                return Tensor::halves(dims, halves);
            }
        }
        Tensor::new(dims, self.read(key, expected)?)
    }

    /// Whether a tensor has integers of 8 bits and scales.
    pub(super) fn is_scaled(&self, key: &str) -> bool {
        let entry = self.entries.get(key);
        entry.is_some_and(|located| located.entry.dtype.name() == "I8")
            && self.entries.contains_key(&scale_of(key))
    }

    /// Reads a tensor of a known shape, in the order of the file.
    pub(super) fn read(&self, key: &str, expected: &[usize]) -> Result<Arc<[f32]>, Error> {
        let (part, entry) = self.find(key, expected)?;
        let data = match &entry.strides {
            None => convert::read(&part.source, entry.dtype, entry.range.clone()),
            Some(_) => part
                .bytes(entry)
                .map(|bytes| convert::to_f32(entry.dtype, &bytes)),
        };
        let data = data.map_err(|fault| part.fault(key, &fault))?;
        let data = data.ok_or_else(|| Error::WeightType {
            name: key.to_owned(),
            got: entry.dtype.name().to_owned(),
        })?;
        convert::check_finite(key, &data)?;
        Ok(data)
    }

    /// Does what [`Self::read`] does for integers, each output channel of which has a scale.
    pub(super) fn read_scaled(&self, key: &str, expected: &[usize]) -> Result<Arc<[f32]>, Error> {
        let (part, entry) = self.find(key, expected)?;
        let bytes = part.bytes(entry).map_err(|fault| part.fault(key, &fault))?;
        let scales = self.read(&scale_of(key), &expected[..expected.len().min(1)])?;
        let data = convert::scaled(&bytes, &scales);
        convert::check_finite(key, &data)?;
        Ok(data)
    }

    /// A tensor of a known shape, and the part of the file that it is in.
    fn find(&self, key: &str, expected: &[usize]) -> Result<(&Part, &StoredTensor), Error> {
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
        Ok((&self.parts[*part], entry))
    }
}

/// The name of the scales of a tensor of integers.
pub(super) fn scale_of(key: &str) -> String {
    format!("{key}.scale")
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
    /// The bytes of a tensor, in row-major order.
    fn bytes(&self, entry: &StoredTensor) -> Result<Cow<'_, [u8]>, Fault> {
        let bytes = self.source.read(entry.range.clone())?;
        let Some(strides) = &entry.strides else {
            return Ok(bytes);
        };
        let element_bytes = entry.dtype.element_bytes();
        let rows = convert::gather(&bytes, element_bytes, &entry.dims, strides);
        let rows = rows.ok_or_else(|| Fault::damaged("it ends past its storage"))?;
        Ok(Cow::Owned(rows))
    }

    fn fault(&self, key: &str, fault: &Fault) -> Error {
        unreadable(&self.path, &format!("tensor '{key}': {fault}"))
    }

    fn contents(&self, entry: Option<&str>) -> Result<Contents, Error> {
        #[cfg(not(feature = "torch"))]
        let _ = entry;
        let source = &self.source;
        let in_file = |fault: Fault| fault.in_file(&self.path);
        let contents = match container::recognise(&source.head().map_err(in_file)?) {
            Container::Safetensors => header::read(source),
            #[cfg(feature = "torch")]
            Container::Zip => super::torch::read_zip(source, entry),
            #[cfg(feature = "torch")]
            Container::Pickle => super::torch::read_legacy(source, entry),
            Container::Json => Err(Fault::damaged(
                "this is JSON; an index of shards is opened by its path, and names files of \
                 weights only",
            )),
            Container::Foreign(reason) => Err(Fault::Damaged(reason)),
        };
        contents.map_err(in_file)
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

fn unreadable(path: &Path, reason: &str) -> Error {
    Fault::damaged(reason).in_file(path)
}
