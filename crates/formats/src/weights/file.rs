//! Open weight files: their tables of contents checked once, their tensors converted to `f32` one
//! by one.
//!
//! In goes a path or the bytes of a file. The container is recognised by its first bytes and read
//! by `header` (safetensors) or `torch` (PyTorch), or is an index of such files. What the tensors
//! are called and mean is up to [`resnet_wgpu::internals::network::resnet::Naming`].

use std::borrow::Cow;
use std::collections::{BTreeSet, HashMap};
use std::fmt;
use std::fs::File;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::container::{self, Container};
use super::contents::{Contents, Fault, StoredTensor};
use super::{convert, header, shards};
use resnet_wgpu::Error;

/// An open weight file, or all shards of one.
pub(super) struct WeightFile {
    path: PathBuf,
    parts: Vec<Part>,
    entries: HashMap<String, Located>,
    metadata: HashMap<String, String>,
    format: String,
}

/// One file.
struct Part {
    path: PathBuf,
    bytes: Bytes,
}

/// Where the bytes of a file are.
enum Bytes {
    Mapped(memmap2::Mmap),
    InMemory(Cow<'static, [u8]>),
}

/// A tensor, and the part that holds it.
struct Located {
    part: usize,
    entry: StoredTensor,
}

impl WeightFile {
    /// Checks the table of contents of a mapped file, or maps and checks every file of an index.
    pub(super) fn open(path: &Path, map: memmap2::Mmap) -> Result<Self, Error> {
        let part = Part {
            path: path.to_owned(),
            bytes: Bytes::Mapped(map),
        };
        if let Container::Json = container::recognise(part.bytes.as_slice()) {
            return Self::open_shards(path, part.bytes.as_slice());
        }
        Self::from_part(part)
    }

    /// Checks a file that is already in memory; `name` stands for its path in errors.
    pub(super) fn from_bytes(name: &Path, bytes: Cow<'static, [u8]>) -> Result<Self, Error> {
        Self::from_part(Part {
            path: name.to_owned(),
            bytes: Bytes::InMemory(bytes),
        })
    }

    fn from_part(part: Part) -> Result<Self, Error> {
        let contents = part.contents()?;
        let mut file = Self {
            path: part.path.clone(),
            parts: Vec::new(),
            entries: HashMap::new(),
            metadata: HashMap::new(),
            format: contents.format.clone(),
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
                bytes: Bytes::Mapped(map(&shard)?),
            };
            let contents = part.contents()?;
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
            (name, located)
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

    /// Names of all tensors, in no particular order.
    pub(super) fn keys(&self) -> impl Iterator<Item = &str> {
        self.entries.keys().map(String::as_str)
    }

    /// The shape of a tensor as stored in the file.
    pub(super) fn dims(&self, key: &str) -> Option<&[usize]> {
        self.entries.get(key).map(|at| &at.entry.dims[..])
    }

    /// The file's own metadata.
    pub(super) const fn metadata(&self) -> &HashMap<String, String> {
        &self.metadata
    }

    /// Reads a tensor of a known shape, in the order of the file.
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
        let bytes = part
            .bytes
            .as_slice()
            .get(entry.range.clone())
            .ok_or_else(outside)?;
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
        part.bytes.release(&entry.range);
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
    fn contents(&self) -> Result<Contents, Error> {
        let data = self.bytes.as_slice();
        let contents = match container::recognise(data) {
            Container::Safetensors => header::read(data),
            #[cfg(feature = "torch")]
            Container::Zip => super::torch::read_zip(data),
            #[cfg(feature = "torch")]
            Container::Pickle => super::torch::read_legacy(data),
            Container::Json => Err(Fault::damaged(
                "this is a JSON text; an index of shards is opened by its path, and names files of \
                 weights only",
            )),
            Container::Foreign(reason) => Err(Fault::Damaged(reason)),
        };
        contents.map_err(|fault| fault.in_file(&self.path))
    }
}

/// Maps a non-empty file into memory.
pub(crate) fn map(path: &Path) -> Result<memmap2::Mmap, Error> {
    let io = |source| Error::Io {
        path: path.to_owned(),
        source,
    };
    let file = File::open(path).map_err(io)?;
    let metadata = file.metadata().map_err(io)?;
    if metadata.is_dir() {
        return Err(unreadable(path, "this is a directory; name a file in it"));
    }
    // Mapping an empty file is an operating-system error, which would say less.
    if metadata.len() == 0 {
        return Err(unreadable(path, "the file is empty"));
    }
    #[expect(unsafe_code, reason = "a memory map has no safe constructor")]
    // SAFETY: the map is only ever read. Should another program truncate the file meanwhile, the
    // system ends this process: the price that every reader of mapped weights pays for not holding
    // a second copy of them.
    unsafe { memmap2::Mmap::map(&file) }.map_err(io)
}

/// Releases the memory that reading a part of a mapped file took. Otherwise the whole file would be
/// in memory alongside the tensors by the time the last one is read.
#[cfg(unix)]
pub(crate) fn release(map: &memmap2::Mmap, part: &[u8]) {
    // Bytes that are not part of the map are left alone.
    let start = part.as_ptr().addr().checked_sub(map.as_ptr().addr());
    let Some(start) = start.filter(|start| start + part.len() <= map.len()) else {
        return;
    };
    let advice = memmap2::UncheckedAdvice::DontNeed;
    #[expect(unsafe_code, reason = "the advice has no safe form")]
    // SAFETY: the pages belong to a file that is only read, so the next access finds the same
    // bytes. Failing does no harm.
    let _ = unsafe { map.unchecked_advise_range(advice, start, part.len()) };
}

/// Other systems reclaim file-backed pages by themselves.
#[cfg(not(unix))]
pub(crate) fn release(_: &memmap2::Mmap, _: &[u8]) {}

impl Bytes {
    fn release(&self, range: &Range<usize>) {
        if let Self::Mapped(map) = self {
            release(map, &map[range.clone()]);
        }
    }

    fn as_slice(&self) -> &[u8] {
        match self {
            Self::Mapped(map) => map,
            Self::InMemory(bytes) => bytes,
        }
    }
}

fn unreadable(path: &Path, reason: &str) -> Error {
    Fault::damaged(reason).in_file(path)
}
