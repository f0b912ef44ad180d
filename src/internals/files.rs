//! Small files, read with a size limit, and files that are written completely or not at all.

use std::fs::{self, File};
use std::hash::{BuildHasher, RandomState};
use std::io::{self, BufWriter, Read, Seek, Write};
use std::path::{Path, PathBuf};

use crate::error::Error;

/// Reads a file of at most `max` bytes.
///
/// # Errors
/// Those of the system, for a file that is too large, and for anything but a regular file: a pipe or a
/// device might never end.
pub fn read_at_most(path: &Path, max: u64) -> io::Result<Vec<u8>> {
    if !fs::metadata(path)?.is_file() {
        return Err(io::Error::other("it is not a regular file"));
    }
    read_all(File::open(path)?, max)
}

/// Reads at most `max` bytes to their end.
///
/// # Errors
/// Those of the system, and for more bytes.
pub fn read_all(source: impl Read, max: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    source.take(max + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > max {
        return Err(io::Error::other(format!("is larger than {max} bytes")));
    }
    Ok(bytes)
}

/// A path in the folder of a file, with a name that nobody else has or can guess.
pub fn temporary_beside(path: &Path) -> PathBuf {
    let random = RandomState::new().hash_one(std::process::id());
    path.with_file_name(format!(".{random:016x}.part"))
}

/// A file of which a reader, even after a crash, finds the old contents or the new, never a mixture.
///
/// It is written under a temporary name in the same folder, gets its own name when it is finished,
/// and is removed if it never is. All errors are [`Error::Write`].
#[derive(Debug)]
pub struct NewFile {
    file: BufWriter<File>,
    partial: PathBuf,
    path: PathBuf,
}

impl NewFile {
    /// Creates a file.
    ///
    /// # Errors
    /// For a path that names no file, and those of the system.
    pub fn create(path: &Path) -> Result<Self, Error> {
        if path.file_name().is_none() {
            return Err(refuse(path, "this is no name of a file"));
        }
        let partial = temporary_beside(path);
        let file = File::create_new(&partial).map_err(|error| refuse(path, error))?;
        Ok(Self {
            file: BufWriter::new(file),
            partial,
            path: path.to_owned(),
        })
    }

    /// The temporary name, for code that writes to a path.
    pub fn partial(&self) -> &Path {
        &self.partial
    }

    /// Appends bytes.
    ///
    /// # Errors
    /// Those of the system.
    pub fn write(&mut self, bytes: &[u8]) -> Result<(), Error> {
        let written = self.file.write_all(bytes);
        written.map_err(|error| refuse(&self.path, error))
    }

    /// Replaces the bytes at the start.
    ///
    /// # Errors
    /// Those of the system.
    pub fn rewrite_start(&mut self, bytes: &[u8]) -> Result<(), Error> {
        let written = self.file.rewind().and_then(|()| self.file.write_all(bytes));
        written.map_err(|error| refuse(&self.path, error))
    }

    /// Gives the file its own name.
    ///
    /// # Errors
    /// Those of the system; whatever was at the path before is then untouched.
    pub fn finish(mut self) -> Result<(), Error> {
        let flushed = self.file.flush();
        flushed
            .and_then(|()| self.file.get_ref().sync_all())
            .and_then(|()| fs::rename(&self.partial, &self.path))
            .map_err(|error| refuse(&self.path, error))
    }
}

impl Drop for NewFile {
    fn drop(&mut self) {
        // Once the file has its own name, there is nothing left to remove.
        let _ = fs::remove_file(&self.partial);
    }
}

/// Writes a whole file, and creates its folder if that does not exist.
///
/// # Errors
/// [`Error::Write`]; the file is then unchanged.
pub fn write_atomically(path: &Path, bytes: &[u8]) -> Result<(), Error> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).map_err(|error| refuse(path, error))?;
    }
    let mut file = NewFile::create(path)?;
    file.write(bytes)?;
    file.finish()
}

/// Does what [`write_atomically`] does, for a file that only saves time.
pub(crate) fn write_cache(path: &Path, bytes: &[u8]) -> Result<(), Error> {
    write_atomically(path, bytes).map_err(|error| match error {
        Error::Write { path, reason } => Error::Cache {
            path,
            reason: format!("cannot be written: {reason}"),
        },
        other => other,
    })
}

fn refuse(path: &Path, reason: impl std::fmt::Display) -> Error {
    Error::Write {
        path: path.to_owned(),
        reason: reason.to_string(),
    }
}
