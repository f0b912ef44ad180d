//! The subset of zip that PyTorch and Keras use: uncompressed files, with 64-bit sizes where
//! needed.
//!
//! In goes an archive; out come byte ranges in it. Nothing is unpacked, so there is no bomb
//! to go off: a compressed file is refused. Checksums are not compared, since PyTorch can be told
//! to leave them out (`torch.serialization.set_crc32_options(False)`).

use std::collections::HashMap;
use std::ops::Range;

use super::bytes::Bytes;
use super::contents::Fault;

/// Every storage is one file: a ResNet-152 with its optimiser state has 2,500.
const MAX_FILES: u64 = 1 << 16;
/// The directory of as many files, with names of the usual length.
const MAX_DIRECTORY_BYTES: usize = 16 << 20;

/// Length of the end record without the comment of up to 64 KiB that may follow it.
const END_LEN: usize = 22;
const END_COMMENT_LEN: usize = 0xffff;
const END64_LOCATOR_LEN: usize = 20;
const END64_LEN: usize = 56;
const ENTRY_LEN: usize = 46;
const LOCAL_LEN: usize = 30;
/// ID of the extra field with 64-bit sizes.
const EXTRA64: u16 = 1;
/// In place of a size: the actual size is in the extra field.
const IN_EXTRA64: u64 = 0xffff_ffff;
const FLAG_ENCRYPTED: u16 = 1;

/// The central directory of an archive.
pub(crate) struct Archive<'a> {
    source: &'a Bytes,
    files: HashMap<Vec<u8>, ZipEntry>,
}

/// An entry of the central directory.
#[derive(Debug)]
struct ZipEntry {
    flags: u16,
    method: u16,
    stored_bytes: u64,
    bytes: u64,
    /// Offset of the local header, which precedes the data.
    local: u64,
}

impl<'a> Archive<'a> {
    /// Reads the directory.
    pub(crate) fn open(source: &'a Bytes) -> Result<Self, Fault> {
        let directory = Directory::find(source)?.ok_or_else(|| {
            Fault::damaged(
                "this is a zip archive, as PyTorch writes, without a directory at its end: the file \
                 is cut off or damaged; compare its size with the source",
            )
        })?;
        if directory.files > MAX_FILES {
            return Err(Fault::Damaged(format!(
                "the archive holds {} files, at most {MAX_FILES} are accepted",
                directory.files
            )));
        }
        let damaged = || Fault::damaged("the directory of the zip archive is damaged");
        let start = directory.at.min(source.len());
        let end = start.saturating_add(MAX_DIRECTORY_BYTES);
        let data = source.read(start..end.min(source.len()))?;
        let mut files = HashMap::new();
        let mut at = 0;
        for _ in 0..directory.files {
            let (name, entry, next) = entry(&data, at).ok_or_else(damaged)?;
            if files.insert(name.to_owned(), entry).is_some() {
                return Err(Fault::Damaged(format!(
                    "the zip archive has two files named '{}'",
                    String::from_utf8_lossy(name)
                )));
            }
            at = next;
        }
        Ok(Self { source, files })
    }

    /// Names of the files, in no particular order.
    pub(crate) fn names(&self) -> impl Iterator<Item = &[u8]> {
        self.files.keys().map(Vec::as_slice)
    }

    /// The byte range of a file's data.
    pub(crate) fn find(&self, name: &[u8]) -> Result<Option<Range<usize>>, Fault> {
        let Some(entry) = self.files.get(name) else {
            return Ok(None);
        };
        let shown = String::from_utf8_lossy(name);
        if entry.flags & FLAG_ENCRYPTED != 0 {
            return Err(Fault::Damaged(format!("'{shown}' in it is encrypted")));
        }
        if entry.method != 0 || entry.stored_bytes != entry.bytes {
            return Err(Fault::Damaged(format!(
                "'{shown}' in the archive is compressed, which neither PyTorch nor Keras does; unpack \
                 it and pack it without compression (`zip -0`), or save it again"
            )));
        }
        let range = range(self.source, entry)?.ok_or_else(|| {
            Fault::Damaged(format!("'{shown}' in the archive ends past the file"))
        })?;
        Ok(Some(range))
    }

    /// Describes an archive that is not a checkpoint.
    #[cfg(feature = "torch")]
    pub(crate) fn kind(&self) -> String {
        let has = |end: &[u8]| self.names().any(|name| name.ends_with(end));
        if has(b"model.weights.h5") {
            return "it is a Keras 3 model (.keras), which `open` reads with the feature \
                    `keras`"
                .to_owned();
        }
        if has(b".npy") {
            return "it holds NumPy arrays (.npz), which are not supported yet".to_owned();
        }
        match self.names().min() {
            Some(first) => format!(
                "it holds no 'data.pkl', but '{}'",
                String::from_utf8_lossy(&first[..first.len().min(80)])
            ),
            None => "it is empty".to_owned(),
        }
    }
}

/// Where the central directory starts, and how many entries it has.
struct Directory {
    at: usize,
    files: u64,
}

impl Directory {
    fn find(source: &Bytes) -> Result<Option<Self>, Fault> {
        let longest = END64_LOCATOR_LEN + END_LEN + END_COMMENT_LEN;
        let tail = source.read(source.len().saturating_sub(longest)..source.len())?;
        Ok(match Self::of_tail(&tail) {
            Some(End::Short(directory)) => Some(directory),
            Some(End::Long(at)) => {
                let end = at.saturating_add(END64_LEN).min(source.len());
                Self::of_long(&source.read(at.min(end)..end)?)
            }
            None => None,
        })
    }

    /// Finds it by the end of the file, which states it or where it is stated.
    fn of_tail(tail: &[u8]) -> Option<End> {
        let last = tail.len().checked_sub(END_LEN)?;
        let end = (0..=last).rev().find(|&at| {
            tail[at..].starts_with(b"PK\x05\x06")
                && u16_at(tail, at + 20)
                    .is_some_and(|comment| at + END_LEN + usize::from(comment) == tail.len())
        })?;
        let locator = end.checked_sub(END64_LOCATOR_LEN);
        if let Some(locator) = locator.filter(|&at| tail[at..].starts_with(b"PK\x06\x07")) {
            let at = usize::try_from(u64_at(tail, locator + 8)?).ok()?;
            return Some(End::Long(at));
        }
        Some(End::Short(Self {
            at: usize::try_from(u32_at(tail, end + 16)?).ok()?,
            files: u64::from(u16_at(tail, end + 10)?),
        }))
    }

    fn of_long(end: &[u8]) -> Option<Self> {
        if !end.starts_with(b"PK\x06\x06") {
            return None;
        }
        Some(Self {
            at: usize::try_from(u64_at(end, 48)?).ok()?,
            files: u64_at(end, 32)?,
        })
    }
}

/// What the end of an archive states.
enum End {
    Short(Directory),
    /// The place of a record with 64-bit numbers.
    Long(usize),
}

/// A directory entry, its name, and where the next entry starts.
fn entry(data: &[u8], at: usize) -> Option<(&[u8], ZipEntry, usize)> {
    let fixed = data.get(at..at.checked_add(ENTRY_LEN)?)?;
    if !fixed.starts_with(b"PK\x01\x02") {
        return None;
    }
    let length = |offset| u16_at(fixed, offset).map(usize::from);
    let name = at + ENTRY_LEN;
    let extra = name + length(28)?;
    let comment = extra + length(30)?;
    let next = comment + length(32)?;
    let mut entry = ZipEntry {
        flags: u16_at(fixed, 8)?,
        method: u16_at(fixed, 10)?,
        stored_bytes: u64::from(u32_at(fixed, 20)?),
        bytes: u64::from(u32_at(fixed, 24)?),
        local: u64::from(u32_at(fixed, 42)?),
    };
    entry.widen(data.get(extra..comment)?)?;
    Some((data.get(name..extra)?, entry, next))
}

impl ZipEntry {
    /// Takes sizes that need 64 bits from the extra field, which holds only those, in this order.
    fn widen(&mut self, mut extra: &[u8]) -> Option<()> {
        while extra.len() >= 4 {
            let (id, len) = (u16_at(extra, 0)?, usize::from(u16_at(extra, 2)?));
            let field = extra.get(4..4 + len)?;
            extra = &extra[4 + len..];
            if id != EXTRA64 {
                continue;
            }
            let mut at = 0;
            for size in [&mut self.bytes, &mut self.stored_bytes, &mut self.local] {
                if *size == IN_EXTRA64 {
                    *size = u64_at(field, at)?;
                    at += 8;
                }
            }
            return Some(());
        }
        Some(())
    }
}

/// Where the data of a file is: after a header that repeats the file's name.
fn range(source: &Bytes, entry: &ZipEntry) -> Result<Option<Range<usize>>, Fault> {
    let local = usize::try_from(entry.local).unwrap_or(usize::MAX);
    let start = local.saturating_add(LOCAL_LEN);
    if start > source.len() {
        return Ok(None);
    }
    let fixed = source.read(local..start)?;
    Ok(of_local(&fixed, start, entry).filter(|range| range.end <= source.len()))
}

fn of_local(fixed: &[u8], start: usize, entry: &ZipEntry) -> Option<Range<usize>> {
    if !fixed.starts_with(b"PK\x03\x04") {
        return None;
    }
    let name_len = usize::from(u16_at(fixed, 26)?);
    let extra_len = usize::from(u16_at(fixed, 28)?);
    let start = start + name_len + extra_len;
    Some(start..start.checked_add(usize::try_from(entry.bytes).ok()?)?)
}

fn chunk_at<const N: usize>(data: &[u8], at: usize) -> Option<[u8; N]> {
    data.get(at..)?.first_chunk().copied()
}

fn u16_at(data: &[u8], at: usize) -> Option<u16> {
    chunk_at(data, at).map(u16::from_le_bytes)
}

fn u32_at(data: &[u8], at: usize) -> Option<u32> {
    chunk_at(data, at).map(u32::from_le_bytes)
}

fn u64_at(data: &[u8], at: usize) -> Option<u64> {
    chunk_at(data, at).map(u64::from_le_bytes)
}
