//! A safetensors file: its header checked once, its tensors converted to `f32` one by one.
//!
//! Layout of the format: eight bytes little-endian header length, a JSON header that gives each
//! tensor's type, shape and byte range, then the bytes. The `safetensors` crate checks that the
//! ranges are contiguous, match the shapes and fill the file; what it leaves to its caller (the size
//! of the header, empty tensors, types, finite numbers) is checked here. Names and meaning of the
//! tensors are the business of [`super::scheme`].

use std::collections::HashMap;
use std::fmt;
use std::fs::File;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use half::slice::HalfFloatSliceExt;
use half::{bf16, f16};
use safetensors::{Dtype, SafeTensors};

use super::container;
use crate::error::Error;

/// A header of ResNet-152 has about 0.1 MB. The limit leaves room for metadata and keeps a hostile
/// file from making the JSON parser allocate gigabytes.
const MAX_HEADER_BYTES: u64 = 16 << 20;

/// Scalars converted at a time: small enough for the first-level cache.
const CHUNK_LEN: usize = 2048;

/// An open weight file.
pub(super) struct WeightFile {
    path: PathBuf,
    bytes: Bytes,
    entries: HashMap<String, Entry>,
    metadata: HashMap<String, String>,
}

/// Where the bytes of a file are.
enum Bytes {
    Mapped(memmap2::Mmap),
    Owned(Vec<u8>),
}

/// One tensor of the header.
struct Entry {
    dtype: Dtype,
    dims: Vec<usize>,
    /// Byte range in the file.
    range: Range<usize>,
}

impl WeightFile {
    /// Maps a file into memory and checks its header.
    pub(super) fn open(path: &Path) -> Result<Self, Error> {
        let io = |source| Error::Io {
            path: path.to_owned(),
            source,
        };
        let file = File::open(path).map_err(io)?;
        let metadata = file.metadata().map_err(io)?;
        if metadata.is_dir() {
            return Err(unreadable(path, "this is a directory; name a file in it"));
        }
        // A mapping of no bytes is an error of the operating system, which would say less.
        if metadata.len() == 0 {
            return Err(unreadable(path, "the file is empty"));
        }
        #[expect(unsafe_code, reason = "a memory map has no safe constructor")]
        // SAFETY: the map is private to this value and is only read. Should another program truncate
        // the file meanwhile, the system ends this process: the price that every reader of mapped
        // weights pays for not holding a second copy of them.
        let map = unsafe { memmap2::Mmap::map(&file) }.map_err(io)?;
        Self::parse(path, Bytes::Mapped(map))
    }

    /// Checks the header of a file that is in memory already; `name` stands for its path in errors.
    pub(super) fn from_bytes(name: &Path, bytes: Vec<u8>) -> Result<Self, Error> {
        Self::parse(name, Bytes::Owned(bytes))
    }

    fn parse(path: &Path, bytes: Bytes) -> Result<Self, Error> {
        let data = bytes.as_slice();
        if let Some(reason) = container::foreign(data) {
            return Err(unreadable(path, &reason));
        }
        let header_bytes = data
            .first_chunk::<8>()
            .map(|length| u64::from_le_bytes(*length))
            .ok_or_else(|| unreadable(path, "the file is too short to be safetensors"))?;
        if header_bytes > MAX_HEADER_BYTES {
            return Err(unreadable(
                path,
                &format!(
                    "not a safetensors file, or a damaged one: the header would have \
                     {header_bytes} bytes, at most {MAX_HEADER_BYTES} are accepted"
                ),
            ));
        }
        let (header_bytes, header) = SafeTensors::read_metadata(data).map_err(|error| {
            unreadable(
                path,
                &format!(
                    "not a safetensors file, or a damaged one ({error}); if it was downloaded, \
                     compare its size with the source"
                ),
            )
        })?;
        let first_byte = size_of::<u64>() + header_bytes;
        let mut entries = HashMap::new();
        for (name, info) in header.tensors() {
            // Every size of a tensor is from here on at most the length of the file, which keeps
            // arithmetic on sizes far from overflow.
            if info.shape.contains(&0) {
                return Err(unreadable(
                    path,
                    &format!("tensor '{name}' is empty: shape {:?}", info.shape),
                ));
            }
            let (start, end) = info.data_offsets;
            let entry = Entry {
                dtype: info.dtype,
                dims: info.shape.clone(),
                range: first_byte + start..first_byte + end,
            };
            entries.insert(name, entry);
        }
        Ok(Self {
            path: path.to_owned(),
            entries,
            metadata: header.metadata().clone().unwrap_or_default(),
            bytes,
        })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Names of all tensors, in no order.
    pub(super) fn keys(&self) -> impl Iterator<Item = &str> {
        self.entries.keys().map(String::as_str)
    }

    /// Sizes of a tensor, in the order of the file.
    pub(super) fn dims(&self, key: &str) -> Option<&[usize]> {
        self.entries.get(key).map(|entry| &entry.dims[..])
    }

    /// A text of the header's `__metadata__`.
    pub(super) fn metadata(&self, key: &str) -> Option<&str> {
        self.metadata.get(key).map(String::as_str)
    }

    /// Reads a tensor whose shape is known, in the order of the file.
    pub(super) fn read(&self, key: &str, expected: &[usize]) -> Result<Arc<[f32]>, Error> {
        let entry = self.entries.get(key).ok_or_else(|| Error::WeightMissing {
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
        let bytes = self
            .bytes
            .as_slice()
            .get(entry.range.clone())
            .ok_or_else(|| unreadable(&self.path, &format!("tensor '{key}' ends past the file")))?;
        let data = to_f32(entry.dtype, bytes).ok_or_else(|| Error::WeightType {
            name: key.to_owned(),
            got: format!("{:?}", entry.dtype),
        })?;
        // Folding all of them first lets the compiler use vector instructions.
        if !data.iter().fold(true, |finite, x| finite & x.is_finite()) {
            let bad = data.iter().enumerate().find(|(_, x)| !x.is_finite());
            if let Some((index, &value)) = bad {
                return Err(Error::WeightNotFinite {
                    name: key.to_owned(),
                    index,
                    value,
                });
            }
        }
        Ok(data)
    }
}

impl fmt::Debug for WeightFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WeightFile")
            .field("path", &self.path)
            .field("tensors", &self.entries.len())
            .field("metadata", &self.metadata)
            .finish_non_exhaustive()
    }
}

impl Bytes {
    fn as_slice(&self) -> &[u8] {
        match self {
            Self::Mapped(map) => map,
            Self::Owned(bytes) => bytes,
        }
    }
}

fn unreadable(path: &Path, reason: &str) -> Error {
    Error::WeightsUnreadable {
        path: path.to_owned(),
        reason: reason.to_owned(),
    }
}

/// Little-endian floats of a supported type as `f32`. The bytes may start at any address.
fn to_f32(dtype: Dtype, bytes: &[u8]) -> Option<Arc<[f32]>> {
    match dtype {
        Dtype::F32 => {
            let words = bytes.as_chunks::<4>().0;
            Some(words.iter().map(|w| f32::from_le_bytes(*w)).collect())
        }
        Dtype::F16 => Some(widen(bytes, f16::from_le_bytes, |from, to| {
            from.convert_to_f32_slice(to);
        })),
        Dtype::BF16 => Some(widen(bytes, bf16::from_le_bytes, |from, to| {
            from.convert_to_f32_slice(to);
        })),
        _ => None,
    }
}

/// Two-byte floats as `f32`, a chunk at a time: only on slices does `half` use the processor's own
/// conversion without asking for it at every number.
fn widen<T: Copy + Default>(
    bytes: &[u8],
    decode: impl Fn([u8; 2]) -> T,
    convert: impl Fn(&[T], &mut [f32]),
) -> Arc<[f32]> {
    let mut data: Arc<[f32]> = std::iter::repeat_n(0.0, bytes.len() / 2).collect();
    let mut narrow = [T::default(); CHUNK_LEN];
    // The data was just made, so there is no second owner.
    if let Some(data) = Arc::get_mut(&mut data) {
        let words = bytes.as_chunks::<2>().0;
        for (words, wide) in words.chunks(CHUNK_LEN).zip(data.chunks_mut(CHUNK_LEN)) {
            let narrow = &mut narrow[..words.len()];
            for (number, word) in narrow.iter_mut().zip(words) {
                *number = decode(*word);
            }
            convert(narrow, wide);
        }
    }
    data
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn halves_are_widened_across_chunks_and_from_odd_addresses() {
        let count = 2 * CHUNK_LEN + 3;
        let values: Vec<f32> = (0..count).map(|i| i as f32 / 16.0 - 20.0).collect();
        let mut bytes = vec![0u8];
        bytes.extend(values.iter().flat_map(|&v| f16::from_f32(v).to_le_bytes()));
        let read = to_f32(Dtype::F16, &bytes[1..]).expect("f16 is supported");
        let expected: Vec<f32> = values.iter().map(|&v| f16::from_f32(v).to_f32()).collect();
        assert_eq!(read[..], expected[..], "f16");

        let bytes: Vec<u8> = values
            .iter()
            .flat_map(|&v| bf16::from_f32(v).to_le_bytes())
            .collect();
        let read = to_f32(Dtype::BF16, &bytes).expect("bf16 is supported");
        let expected: Vec<f32> = values.iter().map(|&v| bf16::from_f32(v).to_f32()).collect();
        assert_eq!(read[..], expected[..], "bf16");
    }

    #[test]
    fn integers_are_not_weights() {
        assert!(to_f32(Dtype::I64, &[0; 8]).is_none(), "i64");
        assert!(to_f32(Dtype::U8, &[0; 8]).is_none(), "u8");
    }
}
