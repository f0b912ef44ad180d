//! A copy of a file without the numbers of its large tensors, which stay where they are until they are
//! needed.
//!
//! What is copied are the fields of the messages on the way to the tensors. In the place of `raw_data` stands
//! a field of this crate's own that says where it is. What is damaged is copied as it is: the reader of
//! the copy finds it.

use std::borrow::Cow;
use std::ops::Range;

use super::wire::{MAX_FIELD, put_varint, take_varint};
use crate::weights::Fault;
use crate::weights::bytes::Bytes;

/// In place of the numbers of a tensor: where they start and how many bytes they have. No file of others
/// has the greatest number that a field may have.
pub(super) const ELSEWHERE: u64 = MAX_FIELD;

/// What is smaller is copied.
const LARGE: usize = 64 << 10;

/// Bytes read at a time.
const WINDOW: usize = 64 << 10;

/// The tag and the length of a field.
const MAX_TAG: usize = 20;

/// The messages that have tensors in them, or are one.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Model,
    Graph,
    Node,
    Attribute,
    Tensor,
}

impl Kind {
    const fn of_field(self, number: u64) -> Option<Self> {
        Some(match (self, number) {
            (Self::Model, 7) => Self::Graph,
            (Self::Graph, 1) => Self::Node,
            (Self::Graph, 5) | (Self::Attribute, 5) => Self::Tensor,
            (Self::Node, 5) => Self::Attribute,
            _ => return None,
        })
    }
}

/// The file's `raw_data`.
const RAW: u64 = 9;

/// Copies a file, or hands it over as it is where it is in memory.
pub(super) fn copy(source: &Bytes) -> Result<Cow<'_, [u8]>, Fault> {
    if let Bytes::Memory(_) = source {
        return source.read(0..source.len());
    }
    let mut reader = Reader {
        source,
        window: Cow::Borrowed(&[]),
        start: 0,
    };
    reader.message(0..source.len(), Kind::Model).map(Cow::Owned)
}

struct Reader<'a> {
    source: &'a Bytes,
    /// A part of the file, and where it starts.
    window: Cow<'a, [u8]>,
    start: usize,
}

/// A field: where its content begins, and where it ends.
struct Field {
    tag: u64,
    content: usize,
    end: usize,
}

impl Reader<'_> {
    fn message(&mut self, range: Range<usize>, kind: Kind) -> Result<Vec<u8>, Fault> {
        let mut copy = Vec::new();
        // Fields that are copied as they are, up to the next one that is not.
        let mut plain = range.start;
        let mut at = range.start;
        while at < range.end {
            let Some(field) = self.field(at, range.end)? else {
                break;
            };
            let content = field.content..field.end;
            let number = field.tag >> 3;
            let inner = kind.of_field(number);
            let is_raw = kind == Kind::Tensor && number == RAW;
            if content.len() >= LARGE && (inner.is_some() || is_raw) {
                copy.extend_from_slice(&self.source.read(plain..at)?);
                if let Some(inner) = inner {
                    let message = self.message(content, inner)?;
                    put_varint(&mut copy, field.tag);
                    put_varint(&mut copy, message.len() as u64);
                    copy.extend_from_slice(&message);
                } else {
                    put_varint(&mut copy, ELSEWHERE << 3 | 2);
                    put_varint(&mut copy, 16);
                    copy.extend_from_slice(&(content.start as u64).to_le_bytes());
                    copy.extend_from_slice(&(content.len() as u64).to_le_bytes());
                }
                plain = field.end;
            }
            at = field.end;
        }
        copy.extend_from_slice(&self.source.read(plain..range.end)?);
        Ok(copy)
    }

    /// The field that starts here; `None` if it is damaged or reaches past the end of its message.
    fn field(&mut self, at: usize, end: usize) -> Result<Option<Field>, Fault> {
        let bytes = self.bytes(at, MAX_TAG)?;
        let whole = bytes.len();
        let mut rest = bytes;
        let Ok(tag) = take_varint(&mut rest) else {
            return Ok(None);
        };
        let length = match tag & 7 {
            0 => {
                if take_varint(&mut rest).is_err() {
                    return Ok(None);
                }
                Some(0)
            }
            1 => Some(8),
            2 => {
                let length = take_varint(&mut rest);
                length.ok().and_then(|length| usize::try_from(length).ok())
            }
            5 => Some(4),
            _ => None,
        };
        let content = at + whole - rest.len();
        let field_end = length.and_then(|length| content.checked_add(length));
        Ok(field_end
            .filter(|&field_end| field_end <= end)
            .map(|end| Field { tag, content, end }))
    }

    /// As many bytes from here on, or all that are left of the file.
    fn bytes(&mut self, at: usize, count: usize) -> Result<&[u8], Fault> {
        let count = count.min(self.source.len() - at);
        let inside = at >= self.start && at + count <= self.start + self.window.len();
        if !inside {
            let end = (at + WINDOW).min(self.source.len());
            self.window = self.source.read(at..end)?;
            self.start = at;
        }
        let from = at - self.start;
        Ok(&self.window[from..from + count])
    }
}
