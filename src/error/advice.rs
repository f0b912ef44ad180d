//! What an error says beside its words: the stage that failed, and what would help.

/// The stage that failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Kind {
    /// Data that does not match its dimensions.
    Tensor,
    /// A file that cannot be read or written.
    File,
    /// Weights that cannot be obtained, are damaged, or do not show which network they belong to.
    Weights,
    /// A graph that is not valid.
    Graph,
    /// A network that cannot be built as requested.
    Model,
    /// A graph that the device cannot run as requested.
    Plan,
    /// No adapter, or none that provides a device.
    Adapter,
    /// The device, or the way it was used.
    Gpu,
    /// Results that make no sense.
    Answer,
    /// A cache file, without which everything works.
    Cache,
    /// Pictures, their preprocessing, and labels.
    Picture,
}

/// Advice to the user.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Hint {
    /// List the names of the network's values.
    ListValues,
    /// Convert the original files, which describe the network, to a single self-describing file.
    Convert,
    /// Compare all layers with the reference.
    Compare,
    /// Download the file by other means and open it by its path.
    NameFile,
    /// Accept a truncated picture as far as it goes.
    Truncated,
    /// Choose one of the networks in a file by its entry or prefix.
    Entry,
}
