//! Images as vectors.

/// All scalars of an image as channels of one pixel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Flatten {
    /// Their order.
    pub order: FlattenOrder,
}

/// The order in which a flattened vector lists channels, rows and columns.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FlattenOrder {
    /// Channels outermost (PyTorch).
    Chw,
    /// Channels innermost (Keras, channels last).
    Hwc,
}
