//! Parameters in the order in which a kernel reads them.

use std::fmt;
use std::sync::Arc;

use super::Storage;
use crate::tensor::{LANES, Tensor};

/// Parameters laid out for a kernel: how many scalars they are is known at once, their values are worked
/// out when they are uploaded.
///
/// The module of the kernel that reads them makes it, from tensors that it shares with the graph.
#[derive(Clone)]
pub struct Packing {
    storage: Storage,
    len: usize,
    pack: Arc<dyn Fn() -> Vec<f32> + Send + Sync>,
}

impl Packing {
    /// Parameters of `len` scalars, which is what `pack` returns.
    pub(super) fn new(
        storage: Storage,
        len: usize,
        pack: impl Fn() -> Vec<f32> + Send + Sync + 'static,
    ) -> Self {
        Self {
            storage,
            len,
            pack: Arc::new(pack),
        }
    }

    /// A vector of `len` scalars, padded with zeros to whole vectors of four; zeros without a tensor.
    pub(crate) fn vector(tensor: Option<&Tensor>, len: usize) -> Self {
        let (tensor, len) = (tensor.cloned(), len.next_multiple_of(LANES));
        Self::new(Storage::Buffer, len, move || {
            let mut packed = tensor.as_ref().map_or_else(Vec::new, |t| t.data().to_vec());
            packed.resize(len, 0.0);
            packed
        })
    }

    /// What holds the scalars.
    pub const fn storage(&self) -> Storage {
        self.storage
    }

    /// How many scalars there are.
    #[expect(clippy::len_without_is_empty, reason = "there is one vector at least")]
    pub const fn len(&self) -> usize {
        self.len
    }

    /// The scalars.
    pub fn pack(&self) -> Vec<f32> {
        (self.pack)()
    }
}

impl fmt::Debug for Packing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { storage, len, .. } = self;
        write!(f, "{len} scalars, {storage:?}")
    }
}
