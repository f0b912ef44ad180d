//! What a plan allocates on the device: each a buffer or a texture, with what it holds.

use super::capabilities::Capabilities;
use super::memory;
use crate::kernels::{Packing, Precision, Storage};
use crate::tensor::{FOLD_ROW_SCALARS, FOLD_WIDTH, LANES, folded_rows};

/// Names one allocation of a plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct AllocationId(pub(crate) usize);

/// What an allocation holds.
#[derive(Clone, Debug)]
pub enum Content {
    /// What the caller uploads before each run.
    Input,
    /// Activations, one after the other.
    Activations,
    /// Parameters, uploaded once.
    Parameters(Packing),
}

/// Memory of the device, made once for a plan: a storage buffer or a storage texture.
#[derive(Clone, Debug)]
pub struct Allocation {
    /// Name for labels and messages.
    pub name: String,
    /// Size.
    pub bytes: u64,
    /// Which of the two it is.
    pub storage: Storage,
    /// Precision of its texels, or of the parameters that it holds. A buffer of activations holds values
    /// of either precision.
    pub precision: Precision,
    /// What it holds.
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
    pub(super) fn activations(slot: usize, size: memory::Place, precision: Precision) -> Self {
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

    /// Parameters, which fill whole rows of a texture.
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

    /// Rows of a texture of `FOLD_WIDTH` columns.
    pub const fn texture_rows(&self) -> u64 {
        self.bytes / self.texture_row_bytes()
    }

    /// Bytes of such a row.
    pub const fn texture_row_bytes(&self) -> u64 {
        (FOLD_ROW_SCALARS * self.precision.bytes()) as u64
    }

    /// What of it a device limits, and to how much.
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
