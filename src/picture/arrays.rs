//! Images that are arrays of numbers in place of pictures.

use super::preprocess::{ChannelOrder, Filter, Preprocess, Resize};

impl ChannelOrder {
    /// The number of channels that the network reads.
    pub(crate) const fn count(self) -> usize {
        match self {
            Self::Rgb | Self::Bgr | Self::Grey => 3,
            Self::Planes(count) => count,
        }
    }
}

#[doc(hidden)]
impl Preprocess {
    /// For a network of images that are arrays of so many channels, of any size; bytes are divided by 255.
    pub const fn of_arrays(channels: usize, size: [usize; 2]) -> Self {
        Self {
            size,
            resize: Resize::Keep,
            filter: Filter::Nearest,
            channels: ChannelOrder::Planes(channels),
            ..Self::NOTEBOOK
        }
    }

    /// Whether images are arrays of numbers, not pictures.
    pub const fn takes_arrays(&self) -> bool {
        matches!(self.channels, ChannelOrder::Planes(_))
    }
}
