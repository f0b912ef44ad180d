//! What names the values and parameters of a graph, and of no other.

use std::sync::atomic::{AtomicU64, Ordering};

/// Names one activation of a graph. In every other graph it is an error, except in clones that were
/// made after the activation was added.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ValueId(pub(crate) usize, pub(super) Origin);

/// Names one parameter of a graph. In every other graph it is an error, except in clones that were made
/// after the parameter was added.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ParamId(pub(crate) usize, pub(super) Origin);

/// Tells apart the graphs that give ids. A clone gives ids of its own from then on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Origin(u64);

impl Origin {
    /// One that no graph has had.
    pub(super) fn unique() -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        Self(NEXT.fetch_add(1, Ordering::Relaxed))
    }
}
