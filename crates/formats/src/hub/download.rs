//! Downloads one file of a repository and checks it against the hash that the server states.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::thread;

use sha1::Sha1;
use sha2::{Digest, Sha256};
use ureq::http::StatusCode;
use ureq::http::header::{CONTENT_LENGTH, ETAG};

use super::Progress;
use super::cache::{Cache, remove_unless_file, unwritten};
use super::client::{Client, LINKED_ETAG, Trouble, content_range, header};
use super::names::{Hash, Repository};
use crate::weights::shards::MAX_INDEX_BYTES;

/// How many times an interrupted download is resumed.
const RETRIES: u32 = 4;
/// A connection that delivered this many bytes before it broke does not count as a failure.
const WORTH: u64 = 1 << 20;

/// Downloads of one commit of a repository.
pub(super) struct Download<'a> {
    pub(super) client: &'a Client<'a>,
    pub(super) cache: &'a Cache,
    pub(super) repo: &'a Repository<'a>,
    pub(super) commit: &'a str,
    pub(super) progress: &'a mut dyn FnMut(&Progress),
}

/// What the server states about a file.
struct Stated {
    hash: Hash,
    size: u64,
}

impl Download<'_> {
    /// Returns the path of a checked file; it is downloaded unless the cache has it already.
    pub(super) fn file(&mut self, name: &str) -> Result<PathBuf, String> {
        let path = format!(
            "/{}/resolve/{}/{}",
            self.repo.id(),
            self.commit,
            escaped(name)
        );
        let stated = self.stated(&path, name)?;
        let blob = self.cache.blob(&stated.hash)?;
        let _lock = self.cache.lock(&stated.hash, self.client.limits().total)?;
        let held = fs::symlink_metadata(&blob);
        if !held.is_ok_and(|held| held.is_file() && held.len() == stated.size) {
            self.bring(&path, name, &stated, &blob)?;
        }
        self.cache.link(&stated.hash, self.commit, name)
    }

    /// Requests one byte: the headers, of the response or of its redirect, state hash and size.
    fn stated(&self, path: &str, name: &str) -> Result<Stated, String> {
        let told = |headers: &_| header(headers, LINKED_ETAG).is_some();
        let answer = self.client.get(path, Some("bytes=0-0"), told)?;
        let headers = answer.headers();
        let etag = header(headers, LINKED_ETAG).or_else(|| header(headers, ETAG.as_str()));
        let Some(hash) = etag.and_then(Hash::of_etag) else {
            return Err(format!("the server states no hash of '{name}'"));
        };
        if header(headers, "x-repo-commit") != Some(self.commit) {
            return Err(format!(
                "the server has '{name}' of another commit than {}",
                self.commit
            ));
        }
        let number = |name: &str| header(headers, name)?.parse().ok();
        let size = match answer.status() {
            StatusCode::PARTIAL_CONTENT => content_range(headers).map(|(_, size)| size),
            StatusCode::OK => number(CONTENT_LENGTH.as_str()),
            _ => number("x-linked-size"),
        };
        let most = if name.ends_with(".json") {
            MAX_INDEX_BYTES as u64
        } else {
            self.client.limits().file_bytes
        };
        match size {
            Some(size) if size <= most => Ok(Stated { hash, size }),
            Some(size) => Err(format!(
                "'{name}' has {size} bytes by what the server states; at most {most} are accepted"
            )),
            None => Err(format!("the server states no size of '{name}'")),
        }
    }

    /// Downloads a file under a temporary name, and renames it once its hash is verified.
    fn bring(
        &mut self,
        path: &str,
        name: &str,
        stated: &Stated,
        blob: &Path,
    ) -> Result<(), String> {
        let partial = blob.with_extension("incomplete");
        let failed = |error: io::Error| unwritten(&partial, &error);
        remove_unless_file(&partial)?;
        let open = File::options().create(true).append(true).open(&partial);
        let mut file = open.map_err(failed)?;
        let mut tries = 0;
        loop {
            let start = file.metadata().map_err(failed)?.len();
            if start == stated.size {
                break;
            }
            match self.part(path, name, stated.size, &mut file) {
                Ok(()) => {}
                Err(Trouble::Cut(_)) if tries < RETRIES => {
                    let held = file.metadata().map_err(failed)?.len();
                    thread::sleep(self.client.limits().pause * (1 << tries));
                    tries = if held >= start + WORTH { 0 } else { tries + 1 };
                }
                Err(trouble) => return Err(trouble.into()),
            }
        }
        file.sync_all().map_err(failed)?;
        if let Err(reason) = check(&partial, stated) {
            // Remove it, so that it is not resumed.
            fs::remove_file(&partial).map_err(failed)?;
            return Err(format!("'{name}' {reason}; try again"));
        }
        fs::rename(&partial, blob).map_err(failed)
    }

    /// Appends the missing part of a file, or as much of it as arrives.
    fn part(&mut self, path: &str, name: &str, size: u64, file: &mut File) -> Result<(), Trouble> {
        let local = |error: io::Error| Trouble::Final(format!("cannot write the cache: {error}"));
        let mut start = file.metadata().map_err(local)?.len();
        if start > size {
            file.set_len(0).map_err(local)?;
            start = 0;
        }
        let range = format!("bytes={start}-");
        let answer = self.client.get(path, Some(&range), |_| false)?;
        let first = match answer.status() {
            StatusCode::PARTIAL_CONTENT => content_range(answer.headers()),
            _ => Some((0, size)),
        };
        if first == Some((0, size)) && start > 0 {
            file.set_len(0).map_err(local)?;
            start = 0;
        }
        if first != Some((start, size)) {
            return Err(Trouble::Final(format!(
                "the server sends another part of '{name}' than it was asked for"
            )));
        }
        let mut done = start;
        let progress = &mut *self.progress;
        self.client.read(answer, size - start, |bytes| {
            file.write_all(bytes)?;
            done += bytes.len() as u64;
            progress(&Progress {
                file: name.to_owned(),
                done,
                total: size,
            });
            Ok(())
        })?;
        if done < size {
            return Err(Trouble::Cut(format!(
                "the server sends {done} bytes of the {size} of '{name}'"
            )));
        }
        Ok(())
    }
}

/// Percent-encodes a name for use in a URL.
fn escaped(name: &str) -> String {
    let mut text = String::new();
    for byte in name.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'.' | b'_' | b'-' => {
                text.push(char::from(byte));
            }
            _ => text.push_str(&format!("%{byte:02X}")),
        }
    }
    text
}

/// Checks a file against its hash.
fn check(path: &Path, stated: &Stated) -> Result<(), String> {
    let found = match &stated.hash {
        Hash::Git(_) => {
            let mut git = Sha1::new();
            git.update(format!("blob {}\0", stated.size));
            hash_of(path, git)
        }
        Hash::Sha256(_) => hash_of(path, Sha256::new()),
    };
    let found = found.map_err(|error| format!("cannot be read back: {error}"))?;
    let hash = &stated.hash;
    if found == hash.to_string() {
        return Ok(());
    }
    Err(format!(
        "arrived damaged: its hash is {found}, the server states {hash}"
    ))
}

fn hash_of<D: Digest>(path: &Path, mut digest: D) -> io::Result<String> {
    let mut file = File::open(path)?;
    let mut buffer = vec![0; 1 << 18];
    loop {
        let read = file.read(&mut buffer)?;
        if read == 0 {
            let bytes = digest.finalize();
            return Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect());
        }
        digest.update(&buffer[..read]);
    }
}
