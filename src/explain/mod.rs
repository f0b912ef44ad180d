//! Shows what a network looks at: class activation maps, and the positions of their pixels in the
//! image.

pub(crate) mod class_map;
pub(crate) mod sites;

pub use class_map::{ClassMap, add_class_map};
pub(crate) use sites::Sites;
