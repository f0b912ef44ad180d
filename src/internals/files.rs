//! Small files, read with a size limit, and files that are written completely or not at all.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, BufWriter, Read, Seek, Write};
use std::path::{Path, PathBuf};

use crate::error::Error;

/// Reads a file of at most `max` bytes.
///
/// # Errors
/// Those of the system, and one of its own for a file that is too large.
pub fn read_at_most(path: &Path, max: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(max + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > max {
        return Err(io::Error::other(format!("is larger than {max} bytes")));
    }
    Ok(bytes)
}

/// A file of which a reader, even after a crash, finds the old contents or the new, never a mixture.
///
/// It is written under a temporary name in the same folder, gets its own name when it is finished, and
/// is removed if it never is. All errors are [`Error::Write`].
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
        let Some(name) = path.file_name() else {
            return Err(refuse(path, "this is no name of a file"));
        };
        let mut partial = OsString::from(".");
        partial.push(name);
        partial.push(format!(".{}.part", std::process::id()));
        let partial = path.with_file_name(partial);
        let file = File::create(&partial).map_err(|error| refuse(path, error))?;
        Ok(Self {
            file: BufWriter::new(file),
            partial,
            path: path.to_owned(),
        })
    }

    /// Its name until it is finished, for those who write to a path.
    pub fn partial(&self) -> &Path {
        &self.partial
    }

    /// Adds bytes at the end.
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

    /// Gives the file its name.
    ///
    /// # Errors
    /// Those of the system; what was at the path before is untouched then.
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
        // Nothing is there any more when the file has its name.
        let _ = fs::remove_file(&self.partial);
    }
}

/// Writes a whole file, in a folder that is made if it does not exist.
///
/// # Errors
/// [`Error::Write`]; the file is then as it was.
pub fn write_atomically(path: &Path, bytes: &[u8]) -> Result<(), Error> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).map_err(|error| refuse(path, error))?;
    }
    let mut file = NewFile::create(path)?;
    file.write(bytes)?;
    file.finish()
}

/// [`write_atomically`] for a file that only saves time.
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
