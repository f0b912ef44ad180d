//! Scalar product along the channels.

/// Sum over the channels of input 0 times input 1, of the same shape.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChannelDot {
    /// Only positive scalars of input 0 count.
    pub positive: bool,
}
