//! Pictures and labels: how an image becomes the input of a network, and the names of its classes.
//!
//! [`Preprocess`] holds the rules as plain data, which can be stored as JSON. `resample` turns them
//! into pixel weights, which `gpu` applies to the host's textures. With the feature `image`,
//! `Picture::open` decodes images, and `Batch::prepare` resizes and crops them on the CPU, bit for
//! bit as Pillow does: a network trained on Pillow's pixels loses accuracy on others. [`Labels`]
//! names the classes.

mod arrays;
#[cfg(feature = "image")]
mod decode;
mod labels;
#[cfg(feature = "image")]
mod pixels;
#[cfg(feature = "image")]
mod prepare;
pub(crate) mod preprocess;
pub(crate) mod resample;
#[cfg(feature = "image")]
mod resize;

#[cfg(feature = "image")]
pub use decode::Reader;
pub use labels::{Labels, top_k};
#[cfg(feature = "image")]
pub use pixels::Picture;
#[cfg(feature = "image")]
pub use prepare::Batch;
pub(crate) use preprocess::Normalization;
pub use preprocess::{ChannelOrder, Crop, Filter, Preprocess, Resize};
