//! The bytes of a weight file, in memory or read by position when they are asked for.
//!
//! A file is not mapped: the system ends a process whose mapped file becomes shorter meanwhile. Read by
//! position, that is an error, and only the tensor at hand is in memory beside its numbers.

use std::borrow::Cow;
use std::fs::File;
use std::io;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use super::contents::Fault;
use resnet_wgpu::Error;
use resnet_wgpu::internals::{files, host_memory};

/// As many bytes as tell any container apart from the others.
const HEAD_BYTES: usize = 512;

/// The bytes of a file. Clones share them.
#[derive(Clone, Debug)]
pub(crate) enum Bytes {
    Memory(Arc<Cow<'static, [u8]>>),
    File(Arc<File>, usize),
}

impl From<Vec<u8>> for Bytes {
    fn from(bytes: Vec<u8>) -> Self {
        Self::Memory(Arc::new(Cow::Owned(bytes)))
    }
}

impl From<&'static [u8]> for Bytes {
    fn from(bytes: &'static [u8]) -> Self {
        Self::Memory(Arc::new(Cow::Borrowed(bytes)))
    }
}

impl Bytes {
    /// Opens a file that is not empty and whose numbers may fit into memory.
    pub(crate) fn open(path: &Path) -> Result<Self, Error> {
        let io = |source| Error::Io {
            path: path.to_owned(),
            source,
        };
        let file = files::open(path).map_err(io)?;
        let length = file.metadata().map_err(io)?.len();
        if length == 0 {
            return Err(Fault::damaged("the file is empty").in_file(path));
        }
        host_memory::check(&format!("'{}'", path.display()), length)?;
        let length = usize::try_from(length).map_err(|_| io(io::ErrorKind::FileTooLarge.into()))?;
        Ok(Self::File(Arc::new(file), length))
    }

    pub(crate) fn len(&self) -> usize {
        match self {
            Self::Memory(bytes) => bytes.len(),
            Self::File(_, length) => *length,
        }
    }

    /// The first bytes.
    pub(crate) fn head(&self) -> Result<Cow<'_, [u8]>, Fault> {
        self.read(0..self.len().min(HEAD_BYTES))
    }

    /// All of these bytes.
    pub(crate) fn read(&self, range: Range<usize>) -> Result<Cow<'_, [u8]>, Fault> {
        self.check(&range)?;
        Ok(match self {
            Self::Memory(bytes) => Cow::Borrowed(&bytes[range]),
            Self::File(file, _) => {
                let mut bytes = vec![0; range.len()];
                read_at(file, &mut bytes, range.start)?;
                Cow::Owned(bytes)
            }
        })
    }

    /// Hands all of these bytes over in pieces of the given length; the last one may be shorter.
    pub(crate) fn pieces(
        &self,
        range: Range<usize>,
        length: usize,
        mut take: impl FnMut(&[u8]),
    ) -> Result<(), Fault> {
        self.check(&range)?;
        match self {
            Self::Memory(bytes) => bytes[range].chunks(length).for_each(take),
            Self::File(file, _) => {
                let mut piece = vec![0; length.min(range.len())];
                for start in range.clone().step_by(length) {
                    let piece = &mut piece[..length.min(range.end - start)];
                    read_at(file, piece, start)?;
                    take(piece);
                }
            }
        }
        Ok(())
    }

    fn check(&self, range: &Range<usize>) -> Result<(), Fault> {
        if range.start <= range.end && range.end <= self.len() {
            Ok(())
        } else {
            Err(Fault::damaged("it ends past the end of the file"))
        }
    }
}

fn read_at(file: &File, bytes: &mut [u8], start: usize) -> Result<(), Fault> {
    read_exact_at(file, bytes, start as u64).map_err(|error| {
        Fault::Damaged(if error.kind() == io::ErrorKind::UnexpectedEof {
            "the file became shorter while it was read; open it again when nothing writes to it"
                .to_owned()
        } else {
            format!("it cannot be read at byte {start}: {error}")
        })
    })
}

#[cfg(unix)]
fn read_exact_at(file: &File, bytes: &mut [u8], start: u64) -> io::Result<()> {
    std::os::unix::fs::FileExt::read_exact_at(file, bytes, start)
}

#[cfg(windows)]
fn read_exact_at(file: &File, mut bytes: &mut [u8], mut start: u64) -> io::Result<()> {
    use std::os::windows::fs::FileExt;
    while !bytes.is_empty() {
        match file.seek_read(bytes, start) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(count) => {
                bytes = &mut bytes[count..];
                start += count as u64;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

#[cfg(not(any(unix, windows)))]
fn read_exact_at(mut file: &File, bytes: &mut [u8], start: u64) -> io::Result<()> {
    use std::io::{Read, Seek, SeekFrom};
    file.seek(SeekFrom::Start(start))?;
    file.read_exact(bytes)
}
