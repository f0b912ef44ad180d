//! Parameters in the layout in which kernels read them.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use twox_hash::xxhash3_128::Hasher;

use super::Storage;
use crate::tensor::{LANES, Tensor};

/// About how many scalars a piece of a packing has, and what it is made of: 1 MiB.
pub(super) const PIECE: usize = 256 << 10;

/// Parameters laid out for a kernel. Their number is known at once; their values are computed on
/// upload.
///
/// It is made by the module of the kernel that reads them, from tensors shared with the graph.
#[derive(Clone)]
pub struct Packing {
    source: Source,
    storage: Storage,
    len: usize,
    held: usize,
    pieces: Arc<dyn Fn() -> Pieces + Send + Sync>,
}

/// What a packing is made of: those of the same source, storage and length have the same scalars.
#[derive(Clone)]
pub(super) struct Source {
    /// The order of the scalars, and whatever else decides what is made of the tensors.
    order: String,
    tensors: Vec<Tensor>,
}

impl Source {
    pub(super) fn new<'t>(
        order: impl Into<String>,
        tensors: impl IntoIterator<Item = &'t Tensor>,
    ) -> Self {
        Self {
            order: order.into(),
            tensors: tensors.into_iter().cloned().collect(),
        }
    }

    pub(super) fn tensors(&self) -> &[Tensor] {
        &self.tensors
    }
}

/// Some of the scalars of a packing.
pub(crate) struct Piece {
    /// The number of its first one: a multiple of four.
    pub(crate) at: usize,
    /// A multiple of four of them, but for the last piece.
    pub(crate) scalars: Vec<f32>,
}

/// The scalars of a packing, piece by piece.
type Pieces = Box<dyn Iterator<Item = Piece>>;

impl Packing {
    /// Parameters of `len` scalars, which `pack` returns.
    pub(super) fn new(
        source: Source,
        storage: Storage,
        len: usize,
        pack: impl Fn() -> Vec<f32> + Send + Sync + 'static,
    ) -> Self {
        Self::in_pieces(source, storage, len, 2 * len, move || {
            let scalars = pack();
            Box::new(std::iter::once(Piece { at: 0, scalars }))
        })
    }

    /// Parameters that would be large in one piece: `pieces` returns each scalar once. To make a piece of it
    /// takes `held` scalars.
    pub(super) fn in_pieces(
        source: Source,
        storage: Storage,
        len: usize,
        held: usize,
        pieces: impl Fn() -> Pieces + Send + Sync + 'static,
    ) -> Self {
        Self {
            source,
            storage,
            len,
            held,
            pieces: Arc::new(pieces),
        }
    }

    /// Weights in blocks of `block` outputs, one block after another: `pack` makes those of outputs from a
    /// multiple of `block` on of their scalars in the first tensor, whose first dimension is the outputs.
    pub(super) fn in_blocks(
        source: Source,
        storage: Storage,
        len: usize,
        block: usize,
        pack: impl Fn(usize, &[f32]) -> Vec<f32> + Clone + Send + Sync + 'static,
    ) -> Self {
        let weight = source.tensors[0].clone();
        let outputs = weight.dims()[0];
        let block_len = len / outputs.div_ceil(block).max(1);
        let at_once = (PIECE / block_len.max(1)).max(1) * block;
        let held = 2 * len.min(at_once / block * block_len);
        Self::in_pieces(source, storage, len, held, move || {
            let (weight, pack) = (weight.clone(), pack.clone());
            Box::new(parts(outputs, at_once).map(move |part| Piece {
                at: part.start / block * block_len,
                scalars: pack(part.start, &weight.slices(part)),
            }))
        })
    }

    /// A vector of `len` scalars, padded with zeros to a multiple of four; all zeros without a
    /// tensor.
    pub(crate) fn vector(tensor: Option<&Tensor>, len: usize) -> Self {
        let (tensor, len) = (tensor.cloned(), len.next_multiple_of(LANES));
        let source = Source::new("vector", tensor.as_ref());
        Self::new(source, Storage::Buffer, len, move || {
            let mut packed = tensor
                .as_ref()
                .map_or_else(Vec::new, |t| t.scalars().into_owned());
            packed.resize(len, 0.0);
            packed
        })
    }

    /// The sum of two vectors of `len` scalars, padded with zeros to a multiple of four.
    pub(crate) fn sum_of_vectors(tensors: [Option<&Tensor>; 2], len: usize) -> Self {
        let terms: Vec<Tensor> = tensors.into_iter().flatten().cloned().collect();
        let len = len.next_multiple_of(LANES);
        let source = Source::new("sum of vectors", &terms);
        Self::new(source, Storage::Buffer, len, move || {
            let mut packed = vec![0.0; len];
            for tensor in &terms {
                for (sum, &value) in packed.iter_mut().zip(&*tensor.scalars()) {
                    *sum += value;
                }
            }
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

    /// Identifies the scalars: packings with the same number have the same ones.
    pub(crate) fn identity(&self) -> u128 {
        let Source { order, tensors } = &self.source;
        let mut hasher = Hasher::new();
        let storage = match self.storage {
            Storage::Buffer => "buffer",
            Storage::Texture => "texture",
        };
        hasher.write(format!("{storage} of {}, {order}:", self.len).as_bytes());
        for tensor in tensors {
            hasher.write(&tensor.fingerprint().to_ne_bytes());
        }
        hasher.finish_128()
    }

    /// The scalars, in pieces, each of which is computed when it is asked for.
    pub(crate) fn pieces(&self) -> impl Iterator<Item = Piece> {
        (self.pieces)()
    }

    /// The scalars, put together.
    #[cfg(test)]
    pub(crate) fn scalars(&self) -> Vec<f32> {
        // What no piece brings is not a number.
        let mut all = vec![f32::NAN; self.len];
        for Piece { at, scalars } in self.pieces() {
            all[at..][..scalars.len()].copy_from_slice(&scalars);
        }
        all
    }

    /// About how many scalars are in memory while pieces are made: those of one, and what it is made of.
    pub(crate) const fn held(&self) -> usize {
        self.held
    }
}

/// Ranges of `len` of the first `count` numbers.
pub(super) fn parts(count: usize, len: usize) -> impl Iterator<Item = Range<usize>> {
    (0..count)
        .step_by(len)
        .map(move |start| start..(start + len).min(count))
}

impl fmt::Debug for Packing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { storage, len, .. } = self;
        write!(f, "{len} scalars, {storage:?}")
    }
}
