//! The header of a safetensors file.
//!
//! The format is an eight-byte little-endian header length, a JSON header that gives each tensor's
//! type, shape and byte range, then the bytes. The `safetensors` crate checks that the ranges are
//! contiguous and match the shapes. What it leaves to its caller (the size of the header, that the
//! ranges fill the file, empty tensors) is checked here.

use std::collections::HashMap;

use safetensors::tensor::Metadata;

use super::bytes::Bytes;
use super::contents::{Contents, Dtype, Fault, StoredTensor};

/// The header of a ResNet-152 has about 0.1 MB. The limit leaves room for metadata, and keeps a
/// hostile file from making the JSON parser allocate gigabytes.
const MAX_HEADER_BYTES: u64 = 16 << 20;

/// Reads and checks the header.
pub(super) fn read(source: &Bytes) -> Result<Contents, Fault> {
    let header_bytes = source
        .head()?
        .first_chunk::<8>()
        .map(|length| u64::from_le_bytes(*length))
        .ok_or_else(|| Fault::damaged("the file is too short to be safetensors"))?;
    if header_bytes > MAX_HEADER_BYTES {
        return Err(Fault::Damaged(format!(
            "not a safetensors file, or a damaged one: the header would have {header_bytes} bytes, \
             at most {MAX_HEADER_BYTES} are accepted"
        )));
    }
    let damaged = |error: String| {
        Fault::Damaged(format!(
            "not a safetensors file, or a damaged one ({error}); if it was downloaded, compare its \
             size with the source"
        ))
    };
    let first_byte = size_of::<u64>() + usize::try_from(header_bytes).unwrap_or(usize::MAX);
    if first_byte > source.len() {
        return Err(damaged("it ends within its header".to_owned()));
    }
    let header = source.read(size_of::<u64>()..first_byte)?;
    let header: Metadata =
        serde_json::from_slice(&header).map_err(|error| damaged(error.to_string()))?;
    let stated = first_byte.checked_add(header.data_len());
    if stated != Some(source.len()) {
        let (stated, held) = (header.data_len(), source.len() - first_byte);
        return Err(damaged(format!(
            "its tensors have {stated} bytes, the file has {held} for them"
        )));
    }
    let mut entries = HashMap::new();
    for (name, info) in header.tensors() {
        // From here on, no dimension exceeds the length of the file, so arithmetic on sizes cannot
        // overflow.
        if info.shape.contains(&0) {
            return Err(Fault::Damaged(format!(
                "tensor '{name}' is empty: shape {:?}",
                info.shape
            )));
        }
        let (start, end) = info.data_offsets;
        let entry = StoredTensor {
            dtype: dtype(info.dtype),
            dims: info.shape.clone(),
            range: first_byte + start..first_byte + end,
            strides: None,
        };
        entries.insert(name, entry);
    }
    Ok(Contents {
        entries,
        metadata: header.metadata().clone().unwrap_or_default(),
        format: "safetensors".to_owned(),
        networks: Vec::new(),
    })
}

fn dtype(dtype: safetensors::Dtype) -> Dtype {
    use safetensors::Dtype as Given;
    let name = match dtype {
        Given::F32 => return Dtype::F32,
        Given::F16 => return Dtype::F16,
        Given::BF16 => return Dtype::BF16,
        Given::F64 => return Dtype::F64,
        Given::I64 => "I64",
        Given::I32 => "I32",
        Given::I16 => "I16",
        Given::I8 => "I8",
        Given::U64 => "U64",
        Given::U32 => "U32",
        Given::U16 => "U16",
        Given::U8 => "U8",
        Given::BOOL => "BOOL",
        Given::F8_E5M2 => "F8_E5M2",
        Given::F8_E4M3 => "F8_E4M3",
        _ => "of a rare kind",
    };
    Dtype::Other {
        name,
        element_bytes: dtype.bitsize().div_ceil(8),
    }
}
