//! The folders of the cache, as `huggingface_hub` lays them out:
//!
//! ```text
//! models--OWNER--NAME/blobs/HASH              the files, by their hash
//! models--OWNER--NAME/snapshots/COMMIT/FILE   links to them, by their name
//! models--OWNER--NAME/refs/REVISION           the commit of a branch or tag
//! .locks/models--OWNER--NAME/HASH.lock        held while a file is downloaded
//! ```
//!
//! A path consists of names that were checked, one folder after another, and each folder must lie
//! inside the cache after all links are resolved.

use std::fs::{self, File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use resnet_wgpu::internals::files::{read_at_most, temporary_beside, write_atomically};

use super::names::{Hash, Repository, is_commit};

/// How often to check whether another process is done.
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

    /// The folder of the cached files of the revision.
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

    /// Records the commit of the revision.
    pub(super) fn set_commit(&self, commit: &str) -> Result<(), String> {
        if is_commit(&self.revision) {
            return Ok(());
        }
        let path = self.folder(&[&self.repository, "refs"])?;
        let written = write_atomically(&path.join(&self.revision), commit.as_bytes());
        written.map_err(|error| error.to_string())
    }

    /// The path of the file with this hash, whether it exists or not.
    pub(super) fn blob(&self, hash: &Hash) -> Result<PathBuf, String> {
        let folder = self.folder(&[&self.repository, "blobs"])?;
        Ok(folder.join(hash.to_string()))
    }

    /// Gives the file with this hash its name in a commit, and returns its path.
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

    /// Waits until no other process downloads the file with this hash, and keeps others from doing
    /// so until the result is dropped.
    pub(super) fn lock(&self, hash: &Hash, patience: Duration) -> Result<File, String> {
        let folder = self.folder(&[".locks", &self.repository])?;
        let path = folder.join(format!("{hash}.lock"));
        if fs::symlink_metadata(&path).is_ok_and(|held| !held.is_file()) {
            fs::remove_file(&path).map_err(|error| unwritten(&path, &error))?;
        }
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
                        "another process holds '{}' for too long",
                        path.display()
                    ));
                }
                // Some file systems have no locks; if two processes mix up a file, its hash still
                // shows it.
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
                    "'{}' is no folder below the cache; remove it",
                    path.display()
                ));
            }
        }
        Ok(path)
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

/// Most users may not create links; a copy serves as well.
#[cfg(not(unix))]
fn symlink(target: &Path, link: &Path) -> io::Result<()> {
    #[cfg(windows)]
    if std::os::windows::fs::symlink_file(target, link).is_ok() {
        return Ok(());
    }
    fs::copy(link.with_file_name("").join(target), link).map(drop)
}
