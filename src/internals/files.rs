//! Small files, read with a size limit, and files that are written completely or not at all.

use std::fs::{self, File};
use std::hash::{BuildHasher, RandomState};
use std::io::{self, BufWriter, Read, Seek, Write};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::error::Error;

/// Opens a file, and nothing else that a path may lead to: a pipe may never have an end, and a device may
/// do anything.
///
/// # Errors
/// Those of the system, and one of its own for what is no file.
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
/// Those of the system, and for a file that is too large or is none.
pub fn read_at_most(path: &Path, max: u64) -> io::Result<Vec<u8>> {
    read_all(open(path)?, max)
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

/// Waits until nobody else writes a file by turns; nobody does until the result is dropped. `None` where
/// nothing can be locked, which the writing itself will complain about.
pub(crate) fn lock_beside(path: &Path) -> Option<File> {
    fs::create_dir_all(path.parent()?).ok()?;
    let lock = path.with_extension("lock");
    let file = File::options().create(true).append(true).open(lock).ok()?;
    file.lock().ok()?;
    Some(file)
}

/// Where the files that are being written are, for those who end the process.
static UNFINISHED: Mutex<Vec<PathBuf>> = Mutex::new(Vec::new());

fn unfinished() -> MutexGuard<'static, Vec<PathBuf>> {
    // A panic cannot leave the list half-changed.
    UNFINISHED.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Removes every file that is not finished: the process ends.
pub fn remove_unfinished() {
    for path in unfinished().drain(..) {
        let _ = fs::remove_file(path);
    }
}

/// A file of which a reader, even after a crash, finds the old contents or the new, never a mixture.
///
/// It is written under a temporary name in the same folder, gets its own name when it is finished, and
/// is removed if it never is. Links are followed, and devices and pipes are written to as they are. All
/// errors are [`Error::Write`].
#[derive(Debug)]
pub struct NewFile {
    file: BufWriter<File>,
    /// Its name until it is finished; `None` for what is no file.
    partial: Option<PathBuf>,
    path: PathBuf,
}

impl NewFile {
    /// Creates a file.
    ///
    /// # Errors
    /// For a path that names no file, and those of the system.
    pub fn create(path: &Path) -> Result<Self, Error> {
        let path = match fs::read_link(path) {
            // What a link leads to may not exist yet.
            Ok(target) => path.canonicalize().unwrap_or(path.with_file_name(target)),
            Err(_) => path.to_owned(),
        };
        let before = fs::metadata(&path).ok();
        if path.file_name().is_none() || before.as_ref().is_some_and(fs::Metadata::is_dir) {
            return Err(refuse(&path, "this is no name of a file"));
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
        let file = File::create_new(&partial).map_err(|error| refuse(&path, error))?;
        unfinished().push(partial.clone());
        // From here on, dropping it removes the file.
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
            // Nothing is there any more when the file has its name.
            let _ = fs::remove_file(partial);
            unfinished().retain(|path| path != partial);
        }
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
