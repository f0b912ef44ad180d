//! The places in a network that have names, and the layers at each of them.

/// A place in a network. Stages, blocks and convolutions are counted from zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unit {
    /// A convolution before the max pool, with its normalisation and ReLU.
    Stem(usize),
    /// A convolution of a block, with its normalisation.
    Main(Place, usize),
    /// The shortcut of a block.
    Shortcut(Place),
    /// The pool that averages before a block halves the image.
    Blur(Place),
    /// The first layer of a block's squeeze-and-excitation, with the mean before it.
    Squeeze(Place),
    /// The second one, with the gate after it.
    Excite(Place),
    /// The efficient channel attention of a block, with the mean before it and the gate behind it.
    Channels(Place),
    /// One of two selective kernels, with its normalisation.
    Path(Place, usize),
    /// The first layer of what chooses between them, with the mean before it.
    Reduce(Place),
    /// The second one, as the gate of one of them.
    Choose(Place, usize),
    /// The end of a block, where main path and shortcut meet.
    Sum(Place),
    /// The normalisation after the last block of a pre-activated network.
    Last,
    /// Pooling and classifier.
    Head,
}

/// The position of a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) stage: usize,
    pub(super) block: usize,
}

/// The layers of a unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    Conv,
    Norm,
    Relu,
    Pool,
    /// A max pool that another pool follows.
    Max,
    Gate,
    Add,
    Flatten,
    Linear,
}
