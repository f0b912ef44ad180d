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

/// The graph that an id was given by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Origin(u64);

/// What makes a graph that graph and no other: even its clone has another identity.
#[derive(Debug)]
pub(super) struct Identity(Origin);

impl Identity {
    /// What ids of the graph carry.
    pub(super) const fn origin(&self) -> Origin {
        self.0
    }
}

impl Default for Identity {
    fn default() -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        Self(Origin(NEXT.fetch_add(1, Ordering::Relaxed)))
    }
}

impl Clone for Identity {
    fn clone(&self) -> Self {
        Self::default()
    }
}
