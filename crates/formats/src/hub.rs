//! Weights from the Hugging Face Hub, by the name of their repository.
//!
//! In goes a name such as `timm/resnet50.a1_in1k`; out comes the path of a weight file in the cache
//! that Python's `huggingface_hub` uses too, with the configuration files beside it. The crate
//! `hf-hub` speaks to the server and resumes what was cut off; choosing the files, checking what
//! arrived against its hash, and doing without a network is done here.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use hf_hub::api::sync::{Api, ApiBuilder, ApiError, ApiRepo};
use hf_hub::{Cache, CacheRepo, Repo, RepoType};
use sha1::Sha1;
use sha2::{Digest, Sha256};

use resnet_wgpu::error::{Error, Hint};

/// Files that hold the weights of a repository, the first that is there being taken.
const WEIGHTS: &[&str] = &[
    "model.safetensors",
    "model.safetensors.index.json",
    "pytorch_model.bin",
    "pytorch_model.bin.index.json",
    PRESET,
];
/// The weights of a preset of `KerasHub`.
const PRESET: &str = "model.weights.h5";
/// Files that describe a network; those that are there are taken too.
const BESIDE: &[&str] = &["config.json", "preprocessor_config.json"];
/// The same for a preset, which has its classifier apart.
const BESIDE_PRESET: &[&str] = &[
    "config.json",
    "metadata.json",
    "task.json",
    "task.weights.h5",
];
/// How often a download goes on after its connection was cut.
const RETRIES: usize = 4;
/// An index of shards is a text of at most so many bytes.
const MAX_INDEX_BYTES: u64 = 16 << 20;

/// Where the Hub and its cache are.
#[derive(Clone, Debug)]
pub struct Hub {
    /// Server; the public one if `None`.
    pub endpoint: Option<String>,
    /// Folder of the cache; the usual one if `None`.
    pub cache: Option<PathBuf>,
    /// What shows the server that a private repository may be read.
    pub token: Option<String>,
    /// Whether to do without the network.
    pub offline: bool,
}

impl Hub {
    /// As the environment says: `HF_ENDPOINT`, `HF_HUB_OFFLINE`, `HF_HUB_CACHE`, `HF_HOME` and
    /// `HF_TOKEN`.
    pub fn from_env() -> Self {
        let text = |name: &str| std::env::var(name).ok().filter(|text| !text.is_empty());
        let offline = text("HF_HUB_OFFLINE").is_some_and(|text| {
            let text = text.to_ascii_lowercase();
            ["1", "on", "yes", "true"].contains(&text.as_str())
        });
        Self {
            endpoint: text("HF_ENDPOINT").map(|url| url.trim_end_matches('/').to_owned()),
            cache: text("HF_HUB_CACHE").map(PathBuf::from),
            token: text("HF_TOKEN"),
            offline,
        }
    }

    fn cache(&self) -> Cache {
        match &self.cache {
            Some(folder) => Cache::new(folder.clone()),
            None => Cache::from_env(),
        }
    }

    fn api(&self) -> Result<Api, ApiError> {
        let cache = self.cache();
        let token = self.token.clone().or_else(|| cache.token());
        let mut builder = ApiBuilder::from_cache(cache)
            .with_token(token)
            .with_retries(RETRIES)
            .with_progress(false);
        if let Some(endpoint) = &self.endpoint {
            builder = builder.with_endpoint(endpoint.clone());
        }
        builder.build()
    }
}

/// How far a download is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Progress {
    /// The file that is being read.
    pub file: String,
    /// Bytes that arrived.
    pub done: u64,
    /// Bytes of the file.
    pub total: u64,
}

/// The path of the weights of a repository, `OWNER/NAME` or `OWNER/NAME@REVISION`, as they are in the
/// cache; what is not there is downloaded. Does not ask the server when the weights are in the cache.
///
/// # Errors
/// [`Error::Fetch`].
pub fn cached_or_fetched(
    hub: &Hub,
    repository: &str,
    progress: &mut dyn FnMut(&Progress),
) -> Result<PathBuf, Error> {
    let repo = parse(repository)?;
    match in_cache(&hub.cache().repo(repo))? {
        Some(weights) => Ok(weights),
        None => fetch(hub, repository, progress),
    }
}

/// Downloads the weights of a repository and what describes them, unless the cache has the newest
/// already, and returns the path of the weights. Every file that arrives is checked against the hash
/// that the server states.
///
/// # Errors
/// [`Error::Fetch`] when the server cannot be reached, has no such repository, or sends something
/// else than it says; offline, when the cache does not have it.
pub fn fetch(
    hub: &Hub,
    repository: &str,
    progress: &mut dyn FnMut(&Progress),
) -> Result<PathBuf, Error> {
    let repo = parse(repository)?;
    let cache = hub.cache().repo(repo.clone());
    if hub.offline {
        return in_cache(&cache)?.ok_or_else(|| {
            refuse(
                repository,
                "it is not in the cache, and HF_HUB_OFFLINE forbids to download it",
            )
        });
    }
    let api = hub.api().map_err(|error| failed(repository, &error))?;
    let mut download = Download {
        name: repository,
        repo: api.repo(repo),
        api,
        cache,
        progress,
    };
    let info = download.repo.info();
    let info = info.map_err(|error| failed(repository, &error))?;
    let files: Vec<&str> = info.siblings.iter().map(|s| s.rfilename.as_str()).collect();
    let weights = choose(repository, &files)?;
    let beside = if weights == PRESET {
        BESIDE_PRESET
    } else {
        BESIDE
    };
    for beside in beside.iter().filter(|name| files.contains(name)) {
        download.file(beside)?;
    }
    let path = download.file(weights)?;
    if weights.ends_with(".index.json") {
        for shard in shards(repository, &path)? {
            if !files.contains(&shard.as_str()) {
                return Err(refuse(
                    repository,
                    &format!("its index names '{shard}', which it does not have"),
                ));
            }
            download.file(&shard)?;
        }
    }
    Ok(path)
}

fn refuse(repository: &str, reason: &str) -> Error {
    Error::Fetch {
        repository: repository.to_owned(),
        reason: reason.to_owned(),
        hint: None,
    }
}

/// Says what to do about an error of the connection.
fn failed(repository: &str, error: &ApiError) -> Error {
    let mut cause = error;
    while let ApiError::TooManyRetries(inner) = cause {
        cause = inner;
    }
    let status = match cause {
        ApiError::RequestError(inner) => match **inner {
            ureq::Error::StatusCode(status) => Some(status),
            _ => None,
        },
        _ => None,
    };
    let reason = match status {
        Some(404) => "the server has no such repository or file; check its name".to_owned(),
        Some(401 | 403) => {
            "the server wants to know who asks: the name is wrong, or the repository is private \
             (set HF_TOKEN)"
                .to_owned()
        }
        Some(status) => format!("the server answered with status {status}; try again later"),
        None => format!("{cause}; what arrived is kept, so that the next try goes on from there"),
    };
    refuse(repository, &reason)
}

/// `OWNER/NAME[@REVISION]`. Names go into paths and addresses, so that only letters, digits and a few
/// marks are let through.
fn parse(repository: &str) -> Result<Repo, Error> {
    let (id, revision) = match repository.split_once('@') {
        Some((id, revision)) => (id, Some(revision)),
        None => (repository, None),
    };
    let plain = |text: &str| {
        let known = |b: u8| b.is_ascii_alphanumeric() || b"._-".contains(&b);
        !text.is_empty() && text.bytes().all(known) && !text.starts_with('.')
    };
    let parts: Vec<&str> = id.split('/').collect();
    if parts.len() != 2 || !parts.iter().all(|part| plain(part)) || !revision.is_none_or(plain) {
        return Err(refuse(
            repository,
            "no name of a repository; it is OWNER/NAME or OWNER/NAME@REVISION, such as \
             timm/resnet50.a1_in1k",
        ));
    }
    let revision = revision.unwrap_or("main").to_owned();
    Ok(Repo::with_revision(
        id.to_owned(),
        RepoType::Model,
        revision,
    ))
}

/// The weights of a repository, if the cache has all of them.
fn in_cache(cache: &CacheRepo) -> Result<Option<PathBuf>, Error> {
    let Some(weights) = WEIGHTS.iter().find_map(|name| cache.get(name)) else {
        return Ok(None);
    };
    if weights.extension().is_some_and(|ending| ending == "json") {
        let shards = shards(&weights.display().to_string(), &weights)?;
        if shards.iter().any(|shard| cache.get(shard).is_none()) {
            return Ok(None);
        }
    }
    Ok(Some(weights))
}

/// The file of the weights among those of a repository.
fn choose<'a>(repository: &str, files: &[&'a str]) -> Result<&'a str, Error> {
    let usual = WEIGHTS
        .iter()
        .find_map(|name| files.iter().find(|file| *file == name));
    if let Some(usual) = usual {
        return Ok(usual);
    }
    Err(Error::Fetch {
        repository: repository.to_owned(),
        reason: format!("it has none of {}", WEIGHTS.join(", ")),
        hint: Some(Hint::NameFile),
    })
}

/// Files that an index of shards names.
fn shards(repository: &str, index: &Path) -> Result<Vec<String>, Error> {
    let damaged = |reason: String| refuse(repository, &format!("its index is damaged: {reason}"));
    let mut text = String::new();
    let file = File::open(index).map_err(|error| damaged(error.to_string()))?;
    let read = file.take(MAX_INDEX_BYTES).read_to_string(&mut text);
    read.map_err(|error| damaged(error.to_string()))?;
    let json: serde_json::Value =
        serde_json::from_str(&text).map_err(|error| damaged(error.to_string()))?;
    let names = json["weight_map"].as_object().into_iter().flatten();
    let mut names: Vec<String> = names
        .filter_map(|(_, name)| name.as_str())
        .map(str::to_owned)
        .collect();
    names.sort();
    names.dedup();
    Ok(names)
}

/// Downloads of one repository.
struct Download<'a> {
    name: &'a str,
    api: Api,
    repo: ApiRepo,
    cache: CacheRepo,
    progress: &'a mut dyn FnMut(&Progress),
}

impl Download<'_> {
    /// A file, checked; from the cache if it is the one that the server has.
    fn file(&mut self, name: &str) -> Result<PathBuf, Error> {
        let failed = |error| failed(self.name, &error);
        let metadata = self.api.metadata(&self.repo.url(name)).map_err(failed)?;
        let etag = metadata.etag().to_owned();
        if etag.is_empty() || !etag.bytes().all(|b| b.is_ascii_alphanumeric()) {
            return Err(refuse(
                self.name,
                &format!("the server states no hash of '{name}'"),
            ));
        }
        let blob = self.cache.blob_path(&etag);
        let held = self
            .cache
            .get(name)
            .filter(|held| std::fs::canonicalize(held).ok() == std::fs::canonicalize(&blob).ok());
        if let Some(held) = held {
            return Ok(held);
        }
        self.drop_useless_part(&blob, metadata.size() as u64);
        let reporter = Reporter {
            file: name.to_owned(),
            progress: &mut *self.progress,
            done: 0,
            total: metadata.size() as u64,
        };
        let path = self
            .repo
            .download_with_progress(name, reporter)
            .map_err(failed)?;
        if let Err(reason) = check(&blob, &etag, metadata.size() as u64) {
            // Nobody must find it in the cache.
            let _ = std::fs::remove_file(&path);
            let _ = std::fs::remove_file(&blob);
            return Err(refuse(self.name, &format!("'{name}' {reason}; try again")));
        }
        Ok(path)
    }

    /// The start of an earlier download that is not shorter than the whole cannot be continued.
    fn drop_useless_part(&self, blob: &Path, size: u64) {
        let part = blob.with_extension("part");
        if std::fs::metadata(&part).is_ok_and(|held| held.len() >= size) {
            let _ = std::fs::remove_file(&part);
        }
    }
}

/// Hands the progress of `hf-hub` on.
struct Reporter<'a> {
    file: String,
    progress: &'a mut dyn FnMut(&Progress),
    done: u64,
    total: u64,
}

impl Reporter<'_> {
    fn report(&mut self) {
        (self.progress)(&Progress {
            file: self.file.clone(),
            done: self.done,
            total: self.total,
        });
    }
}

impl hf_hub::api::Progress for Reporter<'_> {
    fn init(&mut self, size: usize, _: &str) {
        self.total = size as u64;
        self.done = 0;
        self.report();
    }

    fn update(&mut self, size: usize) {
        self.done += size as u64;
        self.report();
    }

    fn finish(&mut self) {
        self.done = self.total;
        self.report();
    }
}

/// Whether a file is the one that its hash is of: SHA-256 for large files, git's SHA-1 of small ones.
fn check(path: &Path, etag: &str, size: u64) -> Result<(), String> {
    let io = |error: io::Error| format!("cannot be read back: {error}");
    let held = std::fs::metadata(path).map_err(io)?.len();
    if held != size {
        return Err(format!("has {held} bytes instead of {size}"));
    }
    let hash = match etag.len() {
        64 => hash_of(path, Sha256::new()).map_err(io)?,
        40 => {
            let mut git = Sha1::new();
            git.update(format!("blob {size}\0"));
            hash_of(path, git).map_err(io)?
        }
        // Some mirrors state a hash of their own.
        _ => return Ok(()),
    };
    if hash.eq_ignore_ascii_case(etag) {
        return Ok(());
    }
    Err(format!(
        "arrived damaged: its hash is {hash}, the server states {etag}"
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_repositories_stay_names() {
        for good in [
            "timm/resnet50.a1_in1k",
            "microsoft/resnet-50@v1.0",
            "a/b@main",
        ] {
            assert!(parse(good).is_ok(), "{good}");
        }
        for bad in [
            "", "resnet50", "a/b/c", "a/..", "../b", "a/b@", "a/b@../x", "a b/c", "a/b?x=1", "/b",
        ] {
            assert!(matches!(parse(bad), Err(Error::Fetch { .. })), "{bad}");
        }
    }

    #[test]
    fn hashes_are_those_of_git_and_of_its_large_files() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("file");
        std::fs::write(&path, "hello\n").expect("written");
        // `git hash-object` and `sha256sum`.
        let git = "ce013625030ba8dba906f756967f9e9ca394464a";
        let large = "5891b5b522d5df086d0ff0b110fbd9d21bb4fc7163af34d08286a2e846f6be03";
        for hash in [git, large, "another-kind"] {
            assert_eq!(check(&path, hash, 6), Ok(()), "{hash}");
        }
        assert!(check(&path, git, 7).is_err(), "size");
        let wrong = large.replace('5', "6");
        assert!(check(&path, &wrong, 6).is_err(), "hash");
    }
}
