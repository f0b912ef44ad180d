//! Small files, read with a size limit, and files that are written completely or not at all.

use std::fs::{self, File};
use std::hash::{BuildHasher, RandomState};
use std::io::{self, BufWriter, Read, Seek, Write};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde::de::DeserializeOwned;

use crate::error::Error;

/// Opens a regular file, and nothing else that a path may refer to: a pipe may never end, and a
/// device may do anything.
///
/// # Errors
/// Those of the system, and one if the path is not a regular file.
pub fn open(path: &Path) -> io::Result<File> {
    let metadata = fs::metadata(path)?;
    let reason = if metadata.is_dir() {
        "this is a folder; name a file in it"
    } else if !metadata.is_file() {
        "this is a device or a pipe, not a file; copy what comes out of it to one"
    } else {
        return File::open(path);
    };
    Err(io::Error::new(io::ErrorKind::InvalidInput, reason))
}

/// Reads a file of at most `max` bytes.
///
/// # Errors
/// Those of the system, and one if the file is too large or not a regular file.
pub fn read_at_most(path: &Path, max: u64) -> io::Result<Vec<u8>> {
    read_all(open(path)?, max)
}

/// Reads a source to its end, which must come after at most `max` bytes.
///
/// # Errors
/// Those of the system, and one if there are more bytes.
pub fn read_all(source: impl Read, max: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    source.take(max + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > max {
        return Err(io::Error::other(format!("is larger than {max} bytes")));
    }
    Ok(bytes)
}

/// A path in the same folder, with a name that nobody else uses or can guess.
pub fn temporary_beside(path: &Path) -> PathBuf {
    let random = RandomState::new().hash_one(std::process::id());
    path.with_file_name(format!(".{random:016x}.part"))
}

/// Takes a lock that makes writers of a file take turns; it is held until the result is dropped.
/// `None` if no lock can be taken, in which case writing will fail and report why.
pub(crate) fn lock_beside(path: &Path) -> Option<File> {
    fs::create_dir_all(path.parent()?).ok()?;
    let lock = path.with_extension("lock");
    let file = File::options().create(true).append(true).open(lock).ok()?;
    file.lock().ok()?;
    Some(file)
}

/// Files that are being written, for whoever ends the process.
static UNFINISHED: Mutex<Vec<PathBuf>> = Mutex::new(Vec::new());

fn unfinished() -> MutexGuard<'static, Vec<PathBuf>> {
    // A panic cannot leave the list half-changed.
    UNFINISHED.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Removes all unfinished files, as the process is about to end.
pub fn remove_unfinished() {
    for path in unfinished().drain(..) {
        let _ = fs::remove_file(path);
    }
}

/// A file that readers, even after a crash, find with either the old or the new contents.
///
/// It is written under a temporary name in the same folder, renamed when it is finished, and
/// removed if it never is. Links are followed; devices and pipes are written to directly. All
/// errors are [`Error::Write`].
#[derive(Debug)]
pub struct NewFile {
    file: BufWriter<File>,
    /// Its temporary path; `None` if it is not a regular file.
    partial: Option<PathBuf>,
    path: PathBuf,
}

impl NewFile {
    /// Creates a file.
    ///
    /// # Errors
    /// One if the path cannot name a file, and those of the system.
    pub fn create(path: &Path) -> Result<Self, Error> {
        let path = match fs::read_link(path) {
            // The target of a link need not exist yet.
            Ok(target) => path.canonicalize().unwrap_or(path.with_file_name(target)),
            Err(_) => path.to_owned(),
        };
        let before = fs::metadata(&path).ok();
        if path.file_name().is_none() || before.as_ref().is_some_and(fs::Metadata::is_dir) {
            return Err(refuse(&path, "this is not the name of a file"));
        }
        if before.as_ref().is_some_and(|before| !before.is_file()) {
            let file = File::options().write(true).open(&path);
            return Ok(Self {
                file: BufWriter::new(file.map_err(|error| refuse(&path, error))?),
                partial: None,
                path,
            });
        }
        let partial = temporary_beside(&path);
        // Held while it is created: a signal finds a file that is listed, or none.
        let mut listed = unfinished();
        let file = File::create_new(&partial).map_err(|error| refuse(&path, error))?;
        listed.push(partial.clone());
        drop(listed);
        // From here on, dropping removes the file.
        let new = Self {
            file: BufWriter::new(file),
            partial: Some(partial),
            path,
        };
        if let Some(before) = before {
            let kept = new.file.get_ref().set_permissions(before.permissions());
            kept.map_err(|error| refuse(&new.path, error))?;
        }
        Ok(new)
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

    /// Renames the file to its final name.
    ///
    /// # Errors
    /// Those of the system; a file that was at the path before is then untouched.
    pub fn finish(mut self) -> Result<(), Error> {
        let flushed = self.file.flush();
        let named = flushed.and_then(|()| match &self.partial {
            Some(partial) => {
                self.file.get_ref().sync_all()?;
                fs::rename(partial, &self.path)
            }
            None => Ok(()),
        });
        named.map_err(|error| refuse(&self.path, error))
    }
}

impl Drop for NewFile {
    fn drop(&mut self) {
        if let Some(partial) = &self.partial {
            // Once the file is renamed, there is nothing to remove.
            let _ = fs::remove_file(partial);
            unfinished().retain(|path| path != partial);
        }
    }
}

/// Writes a whole file; its folder is created if necessary.
///
/// # Errors
/// [`Error::Write`]; an existing file is then unchanged.
pub fn write_atomically(path: &Path, bytes: &[u8]) -> Result<(), Error> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).map_err(|error| refuse(path, error))?;
    }
    let mut file = NewFile::create(path)?;
    file.write(bytes)?;
    file.finish()
}

/// Reads a cache file of JSON of at most `max` bytes; `None` if there is no file.
pub(crate) fn read_cache<T: DeserializeOwned>(path: &Path, max: u64) -> Result<Option<T>, Error> {
    let broken = |reason| Error::Cache {
        path: path.to_owned(),
        reason,
    };
    match read_at_most(path, max) {
        Ok(bytes) => serde_json::from_slice(&bytes)
            .map(Some)
            .map_err(|error| broken(format!("is damaged: {error}"))),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(broken(error.to_string())),
    }
}

/// [`write_atomically`] for a cache file.
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
