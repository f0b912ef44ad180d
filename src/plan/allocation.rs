//! The allocations of a plan on the device: buffers and textures, and their contents.

use super::capabilities::Capabilities;
use super::memory;
use crate::kernels::{Packing, Precision, Storage};
use crate::tensor::{FOLD_ROW_SCALARS, FOLD_WIDTH, LANES, folded_rows};

/// Identifies one allocation of a plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct AllocationId(pub(crate) usize);

/// Identifies parameters on a device: allocations with the same key have the same content, in the same layout.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct ParametersKey {
    packing: u128,
    precision: Precision,
}

impl ParametersKey {
    /// The key of a packing that is stored in this precision.
    pub(super) fn new(packing: &Packing, precision: Precision) -> Self {
        Self {
            packing: packing.identity(),
            precision,
        }
    }
}

/// The content of an allocation.
#[derive(Clone, Debug)]
pub enum Content {
    /// The input, which the caller uploads before each run.
    Input,
    /// Activations, one after another.
    Activations,
    /// Parameters, uploaded once.
    Parameters(Packing),
}

/// Device memory, allocated once for a plan: a storage buffer or a storage texture.
#[derive(Clone, Debug)]
pub struct Allocation {
    /// The name in labels and messages.
    pub name: String,
    /// Its size in bytes.
    pub bytes: u64,
    /// Whether it is a buffer or a texture.
    pub storage: Storage,
    /// The precision of its texels or parameters. Different activations that share a buffer may
    /// have different precisions.
    pub precision: Precision,
    /// Its content.
    pub content: Content,
}

impl Allocation {
    /// The buffer that the caller fills.
    pub(super) const fn input(name: String, bytes: u64) -> Self {
        Self {
            name,
            bytes,
            storage: Storage::Buffer,
            precision: Precision::F32,
            content: Content::Input,
        }
    }

    /// A slot for activations. In a texture, one row of zeros comes first.
    pub(super) fn activations(slot: usize, size: memory::Footprint, precision: Precision) -> Self {
        let bytes = match size.storage {
            Storage::Buffer => size.bytes,
            Storage::Texture => {
                let texels = size.bytes / (LANES * precision.bytes()) as u64;
                let texels = usize::try_from(texels).unwrap_or(usize::MAX - FOLD_WIDTH);
                let scalars = folded_rows(FOLD_WIDTH + texels) * FOLD_ROW_SCALARS;
                (scalars * precision.bytes()) as u64
            }
        };
        Self {
            name: format!("activations {slot}"),
            bytes,
            storage: size.storage,
            precision,
            content: Content::Activations,
        }
    }

    /// Parameters, padded to whole rows if they are in a texture.
    pub(super) fn parameters(name: String, packing: Packing, precision: Precision) -> Self {
        let storage = packing.storage();
        let scalars = match storage {
            Storage::Buffer => packing.len(),
            Storage::Texture => folded_rows(packing.len() / LANES) * FOLD_ROW_SCALARS,
        };
        Self {
            name,
            bytes: (scalars * precision.bytes()) as u64,
            storage,
            precision,
            content: Content::Parameters(packing),
        }
    }

    /// Identifies its parameters; `None` if its content is something else.
    pub(crate) fn parameters_key(&self) -> Option<ParametersKey> {
        match &self.content {
            Content::Parameters(packing) => Some(ParametersKey::new(packing, self.precision)),
            Content::Input | Content::Activations => None,
        }
    }

    /// The number of rows of a texture that is `FOLD_WIDTH` texels wide.
    pub const fn texture_rows(&self) -> u64 {
        self.bytes / self.texture_row_bytes()
    }

    /// The size of such a row in bytes.
    pub const fn texture_row_bytes(&self) -> u64 {
        (FOLD_ROW_SCALARS * self.precision.bytes()) as u64
    }

    /// The name and value of the device limit that applies to it.
    pub(super) fn limit(&self, device: &Capabilities) -> (&'static str, u64) {
        match self.storage {
            Storage::Buffer => (
                "bytes in one storage buffer",
                device.storage_binding_bytes.min(device.buffer_bytes),
            ),
            Storage::Texture => (
                "bytes in one texture",
                device.texture_side * self.texture_row_bytes(),
            ),
        }
    }
}
