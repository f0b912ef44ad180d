//! Tensors that lie in a file beside the network, as exporters write large ones, or further on in its own.

use std::collections::HashMap;
use std::ops::Range;
use std::path::{Component, Path, PathBuf};

use super::wire::{Damaged, Message};
use crate::weights::bytes::Bytes;

/// The file of a network, and those beside it, opened when a tensor is in one of them.
#[derive(Debug, Default)]
pub(super) struct Files {
    /// The folder of the model; `None` for a model in memory, which can have no external data.
    folder: Option<PathBuf>,
    open: HashMap<String, Bytes>,
    own: Option<Bytes>,
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
    /// A file and those beside it.
    pub(super) fn of(path: &Path, own: Bytes) -> Self {
        Self {
            folder: Some(path.parent().unwrap_or(Path::new("")).to_owned()),
            open: HashMap::new(),
            own: Some(own),
        }
    }

    /// Where the numbers of a tensor in the network's own file are: `place` says where they start, and how
    /// many bytes there are.
    pub(super) fn inside(&self, place: &[u8]) -> Result<(&Bytes, Range<usize>), String> {
        let number = |bytes: &[u8]| {
            let bytes = bytes.first_chunk().copied();
            usize::try_from(bytes.map_or(u64::MAX, u64::from_le_bytes)).unwrap_or(usize::MAX)
        };
        let (start, length) = place.split_at(place.len().min(8));
        let start = number(start);
        let own = self.own.as_ref();
        let own = own.ok_or_else(|| "its numbers are missing".to_owned())?;
        Ok((own, start..start.saturating_add(number(length))))
    }

    /// Where a tensor of `len` bytes is.
    pub(super) fn bytes(
        &mut self,
        place: Place<'_>,
        len: usize,
    ) -> Result<(&Bytes, Range<usize>), String> {
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
            let source = Bytes::open(&path).map_err(|error| error.to_string())?;
            self.open.insert(name.to_owned(), source);
        }
        let number = |text: &str, default: usize| {
            if text.is_empty() {
                Some(default)
            } else {
                text.parse().ok()
            }
        };
        let source = &self.open[name];
        let start = number(place.offset, 0);
        let stated = number(place.length, len);
        let part = start.zip(start.and_then(|start| start.checked_add(len)));
        match part {
            Some((start, end)) if stated == Some(len) && end <= source.len() => {
                Ok((source, start..end))
            }
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
