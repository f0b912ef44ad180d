//! A node that is being imported, and its attributes.

use super::operator;
use super::proto::Node;
use super::wire::Damaged;
use resnet_wgpu::Error;

/// A node that is being imported.
#[derive(Clone, Copy)]
pub(super) struct Site<'a> {
    pub(super) node: &'a Node<'a>,
}

impl Site<'_> {
    pub(super) fn refuse(&self, reason: impl Into<String>) -> Error {
        operator(self.node, reason.into())
    }

    /// The error of an attribute.
    pub(super) fn damaged(&self, Damaged(reason): Damaged) -> Error {
        self.refuse(reason)
    }

    /// An integer attribute.
    pub(super) fn int(&self, name: &str, default: i64) -> Result<i64, Error> {
        let value = self.node.int(name).map_err(|error| self.damaged(error))?;
        Ok(value.unwrap_or(default))
    }

    /// A float attribute.
    pub(super) fn float(&self, name: &str, default: f32) -> Result<f32, Error> {
        let value = self.node.float(name).map_err(|error| self.damaged(error))?;
        Ok(value.unwrap_or(default))
    }

    /// A list of integers.
    pub(super) fn ints(&self, name: &str) -> Result<Option<Vec<i64>>, Error> {
        self.node.ints(name).map_err(|error| self.damaged(error))
    }

    /// A text.
    pub(super) fn text(&self, name: &str) -> Result<Option<&str>, Error> {
        self.node.text(name).map_err(|error| self.damaged(error))
    }

    /// Refuses an integer attribute that is not the only one supported.
    pub(super) fn only(&self, name: &str, default: i64, supported: i64) -> Result<(), Error> {
        let value = self.int(name, default)?;
        if value == supported {
            return Ok(());
        }
        Err(self.refuse(format!(
            "{name} = {value} is not supported, only {supported}"
        )))
    }
}
