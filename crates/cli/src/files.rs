//! Files that are there when they are complete, and not before.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, BufWriter, Seek, Write};
use std::path::{Path, PathBuf};

use crate::failure::Failure;

/// A file under another name beside its place, which it takes when it is finished; it is removed if
/// it never is.
#[derive(Debug)]
pub(crate) struct NewFile {
    file: BufWriter<File>,
    partial: PathBuf,
    path: PathBuf,
}

impl NewFile {
    /// Starts a file, or says why it cannot be written.
    pub(crate) fn create(path: &Path) -> Result<Self, Failure> {
        let cannot = |error: &dyn std::fmt::Display| {
            Failure::runtime(format!("cannot write '{}': {error}", path.display()))
        };
        let name = path
            .file_name()
            .ok_or_else(|| cannot(&"no name of a file"))?;
        let mut partial = OsString::from(".");
        partial.push(name);
        partial.push(format!(".{}.part", std::process::id()));
        let partial = path.with_file_name(partial);
        let file = File::create(&partial).map_err(|error| cannot(&error))?;
        Ok(Self {
            file: BufWriter::new(file),
            partial,
            path: path.to_owned(),
        })
    }

    /// Adds bytes at the end.
    pub(crate) fn write(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        let written = self.file.write_all(bytes);
        written.map_err(|error| self.cannot(&error))
    }

    /// Replaces the bytes at the start.
    pub(crate) fn rewrite_start(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        let written = self.file.rewind().and_then(|()| self.file.write_all(bytes));
        written.map_err(|error| self.cannot(&error))
    }

    /// Gives the file its name.
    pub(crate) fn finish(mut self) -> Result<(), Failure> {
        let done = self
            .file
            .flush()
            .and_then(|()| std::fs::rename(&self.partial, &self.path));
        done.map_err(|error| self.cannot(&error))
    }

    fn cannot(&self, error: &io::Error) -> Failure {
        Failure::runtime(format!("cannot write '{}': {error}", self.path.display()))
    }
}

impl Drop for NewFile {
    fn drop(&mut self) {
        // Nothing is there any more when the file has its name.
        let _ = std::fs::remove_file(&self.partial);
    }
}
