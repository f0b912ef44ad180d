//! The cache folders, laid out as by `huggingface_hub`:
//!
//! ```text
//! models--OWNER--NAME/blobs/HASH              the files, by their hash
//! models--OWNER--NAME/snapshots/COMMIT/FILE   links to them, by their name
//! models--OWNER--NAME/refs/REVISION           the commit of a branch or tag
//! .locks/models--OWNER--NAME/HASH.lock        held while a file is downloaded
//! ```
//!
//! Paths are built only from checked names, one folder at a time, and each folder must lie inside
//! the cache after all links are resolved.

use std::fs::{self, File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use resnet_wgpu::internals::files::{read_at_most, temporary_beside, write_atomically};

use super::names::{Hash, Repository, is_commit};

/// How often to check whether another process has finished.
const LOOK: Duration = Duration::from_millis(50);

/// The part of the cache for one repository.
pub(super) struct Cache {
    root: PathBuf,
    repository: String,
    revision: String,
}

impl Cache {
    pub(super) fn new(root: &Path, repo: &Repository<'_>) -> Self {
        Self {
            root: root.to_owned(),
            repository: repo.folder(),
            revision: repo.revision.to_owned(),
        }
    }

    /// The folder with the cached files of the revision, if its commit is known.
    pub(super) fn snapshot(&self) -> Option<PathBuf> {
        let here = self.root.join(&self.repository);
        let commit = if is_commit(&self.revision) {
            self.revision.clone()
        } else {
            let bytes = read_at_most(&here.join("refs").join(&self.revision), 64).ok()?;
            String::from_utf8(bytes).ok()?.trim().to_owned()
        };
        is_commit(&commit).then(|| here.join("snapshots").join(commit))
    }

    /// Records which commit the revision points to.
    pub(super) fn set_commit(&self, commit: &str) -> Result<(), String> {
        if is_commit(&self.revision) {
            return Ok(());
        }
        let path = self.folder(&[&self.repository, "refs"])?;
        let path = path.join(&self.revision);
        remove_unless_file(&path)?;
        write_atomically(&path, commit.as_bytes()).map_err(|error| error.to_string())
    }

    /// The path for the file with this hash, whether or not it exists.
    pub(super) fn blob(&self, hash: &Hash) -> Result<PathBuf, String> {
        let folder = self.folder(&[&self.repository, "blobs"])?;
        Ok(folder.join(hash.to_string()))
    }

    /// Links a file, given by its hash, into a commit under its name; returns the link's path.
    pub(super) fn link(&self, hash: &Hash, commit: &str, name: &str) -> Result<PathBuf, String> {
        let path = self
            .folder(&[&self.repository, "snapshots", commit])?
            .join(name);
        let blob = Path::new("../../blobs").join(hash.to_string());
        if !fs::read_link(&path).is_ok_and(|held| held == blob) {
            let partial = temporary_beside(&path);
            let linked = symlink(&blob, &partial).and_then(|()| fs::rename(&partial, &path));
            if let Err(error) = linked {
                let _ = fs::remove_file(&partial);
                return Err(unwritten(&path, &error));
            }
        }
        Ok(path)
    }

    /// Waits until no other process is downloading the file with this hash, and keeps others from
    /// doing so until the returned file is dropped.
    pub(super) fn lock(&self, hash: &Hash, patience: Duration) -> Result<File, String> {
        let folder = self.folder(&[".locks", &self.repository])?;
        let path = folder.join(format!("{hash}.lock"));
        remove_unless_file(&path)?;
        let open = File::options().create(true).append(true).open(&path);
        let file = open.map_err(|error| unwritten(&path, &error))?;
        let start = Instant::now();
        loop {
            match file.try_lock() {
                Ok(()) => return Ok(file),
                Err(TryLockError::WouldBlock) if start.elapsed() < patience => {
                    thread::sleep(LOOK.min(patience));
                }
                Err(TryLockError::WouldBlock) => {
                    return Err(format!(
                        "another process has held '{}' for too long",
                        path.display()
                    ));
                }
                // Some file systems have no locks; if two processes corrupt a file, its hash will
                // show it.
                Err(TryLockError::Error(_)) => return Ok(file),
            }
        }
    }

    /// A folder inside the cache, created if it does not exist.
    fn folder(&self, parts: &[&str]) -> Result<PathBuf, String> {
        let made = fs::create_dir_all(&self.root).and_then(|()| self.root.canonicalize());
        let root = made.map_err(|error| unwritten(&self.root, &error))?;
        let mut path = self.root.clone();
        for part in parts {
            path.push(part);
            let made = match fs::create_dir(&path) {
                Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
                _ => path.canonicalize(),
            };
            let real = made.map_err(|error| unwritten(&path, &error))?;
            if !real.starts_with(&root) || !real.is_dir() {
                return Err(format!(
                    "'{}' is not a folder within the cache; remove it",
                    path.display()
                ));
            }
        }
        Ok(path)
    }
}

/// Removes a link or device at a path to be written to, lest the data be written through it.
pub(super) fn remove_unless_file(path: &Path) -> Result<(), String> {
    match fs::symlink_metadata(path) {
        Ok(held) if !held.is_file() => {
            fs::remove_file(path).map_err(|error| unwritten(path, &error))
        }
        _ => Ok(()),
    }
}

/// The reason why something cannot be written to the cache.
pub(super) fn unwritten(path: &Path, error: &io::Error) -> String {
    format!("cannot write '{}' in the cache: {error}", path.display())
}

#[cfg(unix)]
fn symlink(target: &Path, link: &Path) -> io::Result<()> {
    std::os::unix::fs::symlink(target, link)
}

/// Most Windows users may not create links; a copy serves as well.
#[cfg(not(unix))]
fn symlink(target: &Path, link: &Path) -> io::Result<()> {
    #[cfg(windows)]
    if std::os::windows::fs::symlink_file(target, link).is_ok() {
        return Ok(());
    }
    fs::copy(link.with_file_name("").join(target), link).map(drop)
}
