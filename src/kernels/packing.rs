//! Parameters in the layout in which kernels read them.

use std::fmt;
use std::sync::Arc;

use super::Storage;
use crate::tensor::{LANES, Tensor};

/// Parameters laid out for a kernel. Their number is known at once; their values are computed on
/// upload.
///
/// It is made by the module of the kernel that reads them, from tensors shared with the graph.
#[derive(Clone)]
pub struct Packing {
    storage: Storage,
    len: usize,
    count: usize,
    pieces: Arc<dyn Fn() -> Pieces + Send + Sync>,
}

/// The scalars of a packing, piece by piece.
type Pieces = Box<dyn Iterator<Item = Vec<f32>>>;

impl Packing {
    /// Parameters of `len` scalars, which `pack` returns.
    pub(super) fn new(
        storage: Storage,
        len: usize,
        pack: impl Fn() -> Vec<f32> + Send + Sync + 'static,
    ) -> Self {
        Self::in_pieces(storage, len, 1, move || Box::new(std::iter::once(pack())))
    }

    /// Parameters that would be large in one piece: `pieces` returns `count` of them, of multiples of four
    /// scalars.
    pub(super) fn in_pieces(
        storage: Storage,
        len: usize,
        count: usize,
        pieces: impl Fn() -> Pieces + Send + Sync + 'static,
    ) -> Self {
        Self {
            storage,
            len,
            count,
            pieces: Arc::new(pieces),
        }
    }

    /// A vector of `len` scalars, padded with zeros to a multiple of four; all zeros without a
    /// tensor.
    pub(crate) fn vector(tensor: Option<&Tensor>, len: usize) -> Self {
        let (tensor, len) = (tensor.cloned(), len.next_multiple_of(LANES));
        Self::new(Storage::Buffer, len, move || {
            let mut packed = tensor
                .as_ref()
                .map_or_else(Vec::new, |t| t.scalars().into_owned());
            packed.resize(len, 0.0);
            packed
        })
    }

    /// Whether a buffer or a texture holds the scalars.
    pub const fn storage(&self) -> Storage {
        self.storage
    }

    /// The number of scalars.
    #[expect(clippy::len_without_is_empty, reason = "there is one vector at least")]
    pub const fn len(&self) -> usize {
        self.len
    }

    /// The scalars, in pieces, each of which is computed when it is asked for.
    pub(crate) fn pieces(&self) -> impl Iterator<Item = Vec<f32>> {
        (self.pieces)()
    }

    /// About how many scalars a piece has.
    pub(crate) const fn piece_len(&self) -> usize {
        self.len / self.count
    }
}

impl fmt::Debug for Packing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { storage, len, .. } = self;
        write!(f, "{len} scalars, {storage:?}")
    }
}
