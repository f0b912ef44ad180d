//! What a network looks at: class activation maps, and where in the image their pixels lie.

pub(crate) mod class_map;
pub(crate) mod sites;

pub use class_map::{ClassMap, add_class_map};
pub(crate) use sites::Sites;
