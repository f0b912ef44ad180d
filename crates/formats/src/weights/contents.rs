//! The common result of all container readers: tensors by name, and where their bytes are.
//!
//! The readers ([`super::header`], `torch`) turn a slice of bytes into [`Contents`] and check every
//! range in it; [`super::file`] reads the numbers.

use std::collections::HashMap;
use std::fmt;
use std::ops::Range;
use std::path::Path;

use resnet_wgpu::Error;
use resnet_wgpu::Hint;

/// The table of contents of a container.
pub(crate) struct Contents {
    pub(crate) entries: HashMap<String, StoredTensor>,
    /// The file's own metadata.
    pub(crate) metadata: HashMap<String, String>,
    /// The format in words.
    pub(crate) format: String,
    /// Paths of all state dicts in a checkpoint, that of the tensors first.
    pub(crate) networks: Vec<String>,
}

/// One tensor.
#[derive(Debug)]
pub(crate) struct StoredTensor {
    pub(crate) dtype: Dtype,
    pub(crate) dims: Vec<usize>,
    /// Byte range in the file, from the first element to the last. If the tensor is a strided view,
    /// it also covers elements in between.
    pub(crate) range: Range<usize>,
    /// Strides in elements; `None` if the layout is row-major.
    pub(crate) strides: Option<Vec<usize>>,
}

/// The type of a tensor's elements.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Dtype {
    F32,
    F16,
    BF16,
    F64,
    /// A type that weights cannot have.
    Other {
        name: &'static str,
        element_bytes: usize,
    },
}

impl Dtype {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::F32 => "F32",
            Self::F16 => "F16",
            Self::BF16 => "BF16",
            Self::F64 => "F64",
            Self::Other { name, .. } => name,
        }
    }

    pub(crate) const fn element_bytes(self) -> usize {
        match self {
            Self::F64 => 8,
            Self::F32 => 4,
            Self::F16 | Self::BF16 => 2,
            Self::Other { element_bytes, .. } => element_bytes,
        }
    }
}

/// Why a container is refused; the caller adds the path.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// What is wrong, and what to do about it.
    Damaged(String),
    /// The name of an object that the pickle asks for.
    #[cfg_attr(
        not(feature = "torch"),
        expect(dead_code, reason = "only pickles have objects")
    )]
    Forbidden(String),
    /// The file holds several networks and none was chosen, or the chosen one does not exist.
    #[cfg_attr(
        not(feature = "torch"),
        expect(dead_code, reason = "only checkpoints have several")
    )]
    Several(String),
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (Self::Damaged(text) | Self::Forbidden(text) | Self::Several(text)) = self;
        f.write_str(text)
    }
}

impl Fault {
    pub(crate) fn damaged(reason: impl Into<String>) -> Self {
        Self::Damaged(reason.into())
    }

    pub(crate) fn in_file(self, path: &Path) -> Error {
        let path = path.to_owned();
        match self {
            Self::Damaged(reason) => Error::WeightsUnreadable { path, reason },
            Self::Forbidden(global) => Error::WeightsForbidden { path, global },
            Self::Several(reason) => Error::WeightsUnrecognised {
                reason,
                hint: Some(Hint::Entry),
            },
        }
    }
}
