//! Average pool over whole images.

/// Mean over all pixels of an image, per channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GlobalAvgPool;
