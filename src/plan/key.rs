//! Keys to the outputs of a plan.

use std::borrow::Cow;
use std::fmt;

use super::PlannedOutput;
use crate::error::Error;
use crate::graph::Role;

/// Identifies an output by its name, which depends on the network, or by its role, which does not.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum OutputKey<'a> {
    /// The name of the value.
    Name(Cow<'a, str>),
    /// The role of the value.
    Role(Role),
}

impl OutputKey<'_> {
    /// The index of the output.
    pub(crate) fn find(&self, outputs: &[PlannedOutput]) -> Result<usize, Error> {
        let found = outputs.iter().position(|output| match self {
            Self::Name(name) => output.name == *name,
            Self::Role(role) => output.roles.contains(role),
        });
        found.ok_or_else(|| {
            let names: Vec<&str> = outputs.iter().map(|o| o.name.as_str()).collect();
            let hint = format!(
                "the plan keeps {}; mark a value as an output of the graph to keep it",
                names.join(", ")
            );
            match self {
                Self::Name(name) => Error::UnknownValue {
                    name: name.to_string(),
                    known: hint,
                },
                Self::Role(role) => Error::NoRole {
                    role: role.to_string(),
                    hint,
                },
            }
        })
    }
}

impl<'a> From<&'a str> for OutputKey<'a> {
    fn from(name: &'a str) -> Self {
        Self::Name(name.into())
    }
}

impl From<String> for OutputKey<'_> {
    fn from(name: String) -> Self {
        Self::Name(name.into())
    }
}

impl From<Role> for OutputKey<'_> {
    fn from(role: Role) -> Self {
        Self::Role(role)
    }
}

impl fmt::Display for OutputKey<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => f.write_str(name),
            Self::Role(role) => role.fmt(f),
        }
    }
}
