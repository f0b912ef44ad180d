//! Ids of the values and parameters of one graph.

use std::sync::atomic::{AtomicU64, Ordering};

/// Identifies a value of a graph. Using it with another graph is an error, unless that is a clone
/// made after the value was added.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ValueId(pub(crate) usize, pub(super) Origin);

/// Identifies a parameter of a graph. Using it with another graph is an error, unless that is a
/// clone made after the parameter was added.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ParamId(pub(crate) usize, pub(super) Origin);

/// The graph that issued an id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Origin(u64);

/// The identity of a graph, which not even its clones share.
#[derive(Debug)]
pub(super) struct Identity(Origin);

impl Identity {
    /// The origin that ids of the graph carry.
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
