//! Downloads weights from the Hugging Face Hub, by the name of their repository.
//!
//! Takes a name such as `timm/resnet50.a1_in1k`, and returns the path of a weight file, with its
//! configuration files next to it, in the cache that Python's `huggingface_hub` uses. The server is
//! not trusted: it cannot choose paths, nothing is written outside the cache, and a file gets its
//! name only after its hash is verified. `client` talks to the server, `cache` manages the folders,
//! and `download` fetches single files.

mod cache;
mod client;
mod download;
mod names;

use std::env;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

use resnet_wgpu::internals::files::read_at_most;
use resnet_wgpu::{Error, Hint};
use serde::Deserialize;

use crate::folder;
use crate::weights::shards::{self, MAX_INDEX_BYTES};
use cache::Cache;
use client::Client;
use download::Download;
use names::{Repository, is_commit};

/// The weight file of a `KerasHub` preset.
const PRESET: &str = "model.weights.h5";

/// File names of weights, in order of preference.
fn weights() -> impl Iterator<Item = &'static str> {
    folder::USUAL.iter().copied().chain([PRESET])
}
/// Files that describe a network; those that exist are fetched too.
const BESIDE: &[&str] = &["config.json", "preprocessor_config.json"];
/// The same for a preset, whose classifier is in separate files.
const BESIDE_PRESET: &[&str] = &[
    "config.json",
    "metadata.json",
    "task.json",
    "task.weights.h5",
];
const PUBLIC: &str = "https://huggingface.co";

/// Where the Hub and its cache are, and how to access them.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Hub {
    /// The URL of the server.
    pub endpoint: String,
    /// The cache folder.
    pub cache: PathBuf,
    /// The token for private repositories, sent only to the endpoint itself, and only over https.
    pub token: Option<String>,
    /// Whether to use the cache only, without any network access.
    pub offline: bool,
    /// Limits on waiting and on file size.
    pub limits: Limits,
}

/// How long to wait for the server, and how much to download.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Limits {
    /// Time to establish a connection.
    pub connect: Duration,
    /// Time until the headers of a response arrive.
    pub head: Duration,
    /// Time for at least `stall_bytes` to arrive.
    pub stall: Duration,
    /// Minimum number of bytes that must arrive in each `stall`.
    pub stall_bytes: u64,
    /// Time to download one file.
    pub total: Duration,
    /// Pause before a broken download is resumed; it doubles each time.
    pub pause: Duration,
    /// Maximum size of a file in bytes.
    pub file_bytes: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(20),
            head: Duration::from_secs(60),
            stall: Duration::from_secs(60),
            stall_bytes: 64 << 10,
            total: Duration::from_secs(12 * 60 * 60),
            pause: Duration::from_millis(250),
            file_bytes: 16 << 30,
        }
    }
}

impl Hub {
    /// The public server, without a token, and with its own cache.
    pub fn new(cache: impl Into<PathBuf>) -> Self {
        Self {
            endpoint: PUBLIC.to_owned(),
            cache: cache.into(),
            token: None,
            offline: false,
            limits: Limits::default(),
        }
    }

    /// Reads the environment variables of `huggingface_hub`: `HF_ENDPOINT`, `HF_HUB_OFFLINE`,
    /// `HF_HUB_CACHE`, `HF_HOME`, `HF_TOKEN`, `HF_TOKEN_PATH` and `HF_HUB_DISABLE_IMPLICIT_TOKEN`.
    pub fn from_env() -> Self {
        let value = |names: &[&str]| -> Option<OsString> {
            let mut set = names.iter().filter_map(env::var_os);
            set.find(|value| !value.is_empty())
        };
        let folder = |names: &[&str]| value(names).map(|path| expanded(PathBuf::from(path)));
        let is_true = |names: &[&str]| {
            let text = value(names).unwrap_or_default().to_ascii_lowercase();
            ["1", "on", "yes", "true"].iter().any(|yes| text == *yes)
        };
        let home = folder(&["HF_HOME"]).unwrap_or_else(|| {
            let caches = folder(&["XDG_CACHE_HOME"]);
            let caches = caches.unwrap_or_else(|| expanded("~/.cache".into()));
            caches.join("huggingface")
        });
        let token = || {
            let said = value(&["HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"]);
            let text = said.and_then(|text| text.into_string().ok()).or_else(|| {
                let file = folder(&["HF_TOKEN_PATH"]).unwrap_or_else(|| home.join("token"));
                String::from_utf8(read_at_most(&file, 4096).ok()?).ok()
            })?;
            Some(text.trim().to_owned()).filter(|token| !token.is_empty())
        };
        let cache = folder(&["HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE"]);
        let mut hub = Self::new(cache.unwrap_or_else(|| home.join("hub")));
        if let Some(endpoint) = value(&["HF_ENDPOINT"]) {
            hub.endpoint = endpoint.to_string_lossy().trim_end_matches('/').to_owned();
        }
        if !is_true(&["HF_HUB_DISABLE_IMPLICIT_TOKEN"]) {
            hub.token = token();
        }
        hub.offline = is_true(&["HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"]);
        hub
    }
}

/// Expands a leading `~` in a path to the user's home folder.
fn expanded(path: PathBuf) -> PathBuf {
    match (path.strip_prefix("~"), env::home_dir()) {
        (Ok(rest), Some(home)) => home.join(rest),
        _ => path,
    }
}

/// The progress of a download.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Progress {
    /// The file being downloaded.
    pub file: String,
    /// Bytes received so far.
    pub done: u64,
    /// Size of the file in bytes.
    pub total: u64,
}

/// What the server says about a revision.
#[derive(Deserialize)]
struct Info {
    sha: String,
    siblings: Vec<Sibling>,
}

#[derive(Deserialize)]
struct Sibling {
    rfilename: String,
}

/// Returns the path of the cached weights of a repository, `OWNER/NAME` or `OWNER/NAME@REVISION`,
/// downloading whatever is missing. If the cache has the weights, the server is not contacted.
///
/// # Errors
/// [`Error::Fetch`].
pub fn cached_or_fetched(
    hub: &Hub,
    repository: &str,
    progress: &mut dyn FnMut(&Progress),
) -> Result<PathBuf, Error> {
    let repo = Repository::parse(repository).map_err(refusing(repository))?;
    let held = in_cache(&Cache::new(&hub.cache, &repo)).map_err(refusing(repository))?;
    held.map_or_else(|| fetch(hub, repository, progress), Ok)
}

/// Downloads the weights of a repository and the files that describe them, unless the cache has the
/// newest version, and returns the path of the weights. Every downloaded file is checked against
/// the hash that the server states.
///
/// # Errors
/// [`Error::Fetch`] if the server cannot be reached, has no such repository, or sends something
/// other than it states; if offline, also if the cache does not have the files.
pub fn fetch(
    hub: &Hub,
    repository: &str,
    progress: &mut dyn FnMut(&Progress),
) -> Result<PathBuf, Error> {
    let refuse = refusing(repository);
    let repo = Repository::parse(repository).map_err(&refuse)?;
    let cache = Cache::new(&hub.cache, &repo);
    if hub.offline {
        let held = in_cache(&cache).map_err(&refuse)?;
        let reason = "it is not in the cache, and HF_HUB_OFFLINE forbids downloading it";
        return held.ok_or_else(|| refuse(reason.to_owned()));
    }
    let client = Client::new(hub).map_err(&refuse)?;
    let info = list(&client, &repo).map_err(&refuse)?;
    let has = |name: &str| info.siblings.iter().any(|file| file.rfilename == name);
    let Some(weights) = weights().find(|name| has(name)) else {
        return Err(Error::Fetch {
            repository: repository.to_owned(),
            reason: format!(
                "it has none of {}",
                weights().collect::<Vec<_>>().join(", ")
            ),
            hint: Some(Hint::NameFile),
        });
    };
    let mut download = Download {
        client: &client,
        cache: &cache,
        repo: &repo,
        commit: &info.sha,
        progress,
    };
    bring(&mut download, weights, has).map_err(&refuse)
}

fn refusing(repository: &str) -> impl Fn(String) -> Error {
    move |reason| Error::Fetch {
        repository: repository.to_owned(),
        reason,
        hint: None,
    }
}

fn list(client: &Client<'_>, repo: &Repository<'_>) -> Result<Info, String> {
    let path = format!("/api/models/{}/revision/{}", repo.id(), repo.revision);
    let text = client.text(&path)?;
    let info: Info = serde_json::from_slice(&text)
        .map_err(|error| format!("the server's list of its files is not understood: {error}"))?;
    if is_commit(&info.sha) {
        return Ok(info);
    }
    Err("the server names no commit of 40 hexadecimal digits".to_owned())
}

/// Fetches the weights after the files that describe them, so that whenever the cache has the
/// weights, it has everything.
fn bring(
    download: &mut Download<'_>,
    weights: &str,
    has: impl Fn(&str) -> bool,
) -> Result<PathBuf, String> {
    let beside = if weights == PRESET {
        BESIDE_PRESET
    } else {
        BESIDE
    };
    for name in beside.iter().filter(|name| has(name)) {
        download.file(name)?;
    }
    let path = download.file(weights)?;
    if weights.ends_with(".index.json") {
        for shard in shards_of(&path)? {
            if !has(&shard) {
                return Err(format!("its index names '{shard}', which it does not have"));
            }
            download.file(&shard)?;
        }
    }
    download.cache.set_commit(download.commit)?;
    Ok(path)
}

/// The path of a repository's weights, if the cache has all of them.
fn in_cache(cache: &Cache) -> Result<Option<PathBuf>, String> {
    let Some(snapshot) = cache.snapshot() else {
        return Ok(None);
    };
    let mut found = weights().map(|name| snapshot.join(name));
    let Some(weights) = found.find(|path| path.is_file()) else {
        return Ok(None);
    };
    if weights.extension().is_some_and(|ending| ending == "json") {
        let shards = shards_of(&weights)?;
        if !shards.iter().all(|shard| snapshot.join(shard).is_file()) {
            return Ok(None);
        }
    }
    Ok(Some(weights))
}

/// The file names of the shards listed in an index; all are in the same folder.
fn shards_of(index: &Path) -> Result<Vec<String>, String> {
    let damaged = |reason: String| format!("its index is damaged: {reason}");
    let text = read_at_most(index, MAX_INDEX_BYTES as u64);
    let text = text.map_err(|error| damaged(error.to_string()))?;
    let shards = shards::read(&text).map_err(|fault| damaged(fault.to_string()))?;
    Ok(shards.into_keys().collect())
}
