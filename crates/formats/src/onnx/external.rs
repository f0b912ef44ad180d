//! External data: tensors in a file next to the model, as exporters write large ones.

use std::collections::HashMap;
use std::path::{Component, Path, PathBuf};

use super::wire::{Damaged, Message};
use crate::weights;

/// The external data files of a model, opened on first use.
#[derive(Debug, Default)]
pub(super) struct Files {
    /// The folder of the model; `None` for a model in memory, which can have no external data.
    folder: Option<PathBuf>,
    open: HashMap<String, Vec<u8>>,
}

/// Where the data of a tensor is stored, as the texts in the file.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Place<'a> {
    location: &'a str,
    offset: &'a str,
    length: &'a str,
}

impl<'a> Place<'a> {
    /// Adds a `StringStringEntryProto`, a key and its value.
    pub(super) fn add(&mut self, entry: Message<'a>) -> Result<(), Damaged> {
        let text = |number| entry.last(number)?.map_or(Ok(""), |field| field.text());
        match text(1)? {
            "location" => self.location = text(2)?,
            "offset" => self.offset = text(2)?,
            "length" => self.length = text(2)?,
            _ => {}
        }
        Ok(())
    }
}

impl Files {
    /// The external data files next to a model file.
    pub(super) fn beside(path: &Path) -> Self {
        Self {
            folder: Some(path.parent().unwrap_or(Path::new("")).to_owned()),
            open: HashMap::new(),
        }
    }

    /// The bytes of a tensor that is `len` bytes long.
    pub(super) fn bytes(&mut self, place: Place<'_>, len: usize) -> Result<&[u8], String> {
        let name = place.location;
        let Some(folder) = &self.folder else {
            return Err(format!(
                "its numbers are in another file, '{name}'; open the network by its path"
            ));
        };
        let mut parts = Path::new(name).components();
        if name.is_empty()
            || !parts.all(|part| matches!(part, Component::Normal(_) | Component::CurDir))
        {
            return Err(format!(
                "its numbers are in '{name}', which is not in the folder of the network"
            ));
        }
        if !self.open.contains_key(name) {
            let path = folder.join(name);
            if !path.exists() {
                return Err(format!(
                    "its numbers are in '{name}', which is not beside the network; put both files into one folder"
                ));
            }
            let bytes = weights::bytes_of(&path).map_err(|error| error.to_string())?;
            self.open.insert(name.to_owned(), bytes);
        }
        let number = |text: &str, default: usize| {
            if text.is_empty() {
                Some(default)
            } else {
                text.parse().ok()
            }
        };
        let bytes = &self.open[name];
        let start = number(place.offset, 0);
        let stated = number(place.length, len);
        let part = start.zip(start.and_then(|start| start.checked_add(len)));
        let part = part.and_then(|(start, end)| bytes.get(start..end));
        match part {
            Some(part) if stated == Some(len) => Ok(part),
            _ => Err(format!(
                "'{name}' does not hold its {len} bytes at {}; is it complete, and of this network?",
                if place.offset.is_empty() {
                    "0"
                } else {
                    place.offset
                }
            )),
        }
    }
}
