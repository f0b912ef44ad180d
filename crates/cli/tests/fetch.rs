//! Downloading, against a server in this process that speaks as the Hugging Face Hub does, well or
//! badly.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::{Arc, Mutex};

use resnet_formats::hub::{self, Hub, Progress};
use resnet_wgpu::Error;
use sha2::{Digest, Sha256};
use tempfile::TempDir;

const REPOSITORY: &str = "timm/tiny";

/// How a server misbehaves.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Manners {
    /// How often it cuts a connection half way through a file.
    cuts: usize,
    /// Sends other bytes than those it states the hash of.
    lies: bool,
}

/// What the server has, does, and was asked.
struct State {
    files: BTreeMap<String, Vec<u8>>,
    manners: Manners,
    requests: Vec<String>,
}

struct Server {
    endpoint: String,
    state: Arc<Mutex<State>>,
}

impl Server {
    fn new(files: &[(&str, &[u8])], manners: Manners) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        let files = files.iter();
        let state = Arc::new(Mutex::new(State {
            files: files
                .map(|(name, bytes)| ((*name).to_owned(), bytes.to_vec()))
                .collect(),
            manners,
            requests: Vec::new(),
        }));
        let shared = Arc::clone(&state);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let state = Arc::clone(&shared);
                std::thread::spawn(move || {
                    // A client that goes away is none of the server's business.
                    let _ = answer(&mut stream.unwrap(), &state);
                });
            }
        });
        Self { endpoint, state }
    }

    fn requests(&self) -> Vec<String> {
        std::mem::take(&mut self.state.lock().unwrap().requests)
    }
}

fn answer(stream: &mut TcpStream, state: &Mutex<State>) -> std::io::Result<()> {
    let mut lines = BufReader::new(stream.try_clone()?).lines();
    let request = lines.next().transpose()?.unwrap_or_default();
    let mut start = 0;
    let mut end = None;
    for line in lines {
        let line = line?.to_ascii_lowercase();
        if line.is_empty() {
            break;
        }
        if let Some(range) = line.strip_prefix("range: bytes=") {
            let (from, to) = range.split_once('-').unwrap();
            start = from.parse().unwrap();
            end = to.parse::<usize>().ok();
        }
    }
    let path = request.split(' ').nth(1).unwrap_or_default().to_owned();
    let mut state = state.lock().unwrap();
    state.requests.push(format!("{path} from {start}"));
    let file = path
        .strip_prefix(&format!("/{REPOSITORY}/resolve/main/"))
        .and_then(|name| state.files.get(name).cloned());
    if path == format!("/api/models/{REPOSITORY}/revision/main") {
        let names = state
            .files
            .keys()
            .map(|name| serde_json::json!({"rfilename": name}));
        let names: Vec<_> = names.collect();
        let body = serde_json::json!({"sha": "c0ffee", "siblings": names}).to_string();
        return send(stream, "200 OK", "", body.as_bytes(), body.len());
    }
    let Some(mut file) = file else {
        return send(stream, "404 Not Found", "", b"", 0);
    };
    let hash = Sha256::digest(&file);
    let hash: String = hash.iter().map(|byte| format!("{byte:02x}")).collect();
    let size = file.len();
    let end = end.map_or(size, |end| (end + 1).min(size));
    let headers = format!(
        "ETag: \"{hash}\"\r\nX-Repo-Commit: c0ffee\r\nContent-Range: bytes {start}-{}/{size}\r\n",
        end - 1
    );
    if state.manners.lies {
        file.reverse();
    }
    let part = &file[start..end];
    let cut = end - start > 1 && state.manners.cuts > 0;
    if cut {
        state.manners.cuts -= 1;
    }
    let sent = if cut { part.len() / 2 } else { part.len() };
    send(
        stream,
        "206 Partial Content",
        &headers,
        &part[..sent],
        part.len(),
    )
}

fn send(
    stream: &mut TcpStream,
    status: &str,
    headers: &str,
    body: &[u8],
    promised: usize,
) -> std::io::Result<()> {
    write!(
        stream,
        "HTTP/1.1 {status}\r\n{headers}Content-Length: {promised}\r\nConnection: close\r\n\r\n"
    )?;
    stream.write_all(body)
}

fn hub(server: &Server, cache: &TempDir) -> Hub {
    Hub {
        endpoint: Some(server.endpoint.clone()),
        cache: Some(cache.path().to_owned()),
        token: None,
        offline: false,
    }
}

fn refused(result: Result<PathBuf, Error>) -> String {
    match result {
        Err(error @ Error::Fetch { .. }) => error.to_string(),
        other => panic!("{other:?}"),
    }
}

/// No file of a cache has a complete name but what it stands for.
fn files_in(cache: &Path) -> Vec<String> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(cache).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() && !path.is_symlink() {
            found.extend(files_in(&path));
        } else {
            found.push(path.file_name().unwrap().to_str().unwrap().to_owned());
        }
    }
    found
}

#[test]
fn weights_and_what_describes_them_arrive_whole_and_once() {
    let weights: Vec<u8> = (0..300_000u32).flat_map(u32::to_le_bytes).collect();
    let files = [
        ("README.md", &b"text"[..]),
        ("config.json", b"{}"),
        ("model.safetensors", &weights),
    ];
    let server = Server::new(&files, Manners::default());
    let cache = tempfile::tempdir().unwrap();
    let mut seen = Vec::new();
    let mut watch = |progress: &Progress| seen.push(progress.clone());
    let path = hub::fetch(&hub(&server, &cache), REPOSITORY, &mut watch).unwrap();
    assert_eq!(std::fs::read(&path).unwrap(), weights, "weights");
    let config = path.with_file_name("config.json");
    assert_eq!(std::fs::read(config).unwrap(), b"{}", "config");
    let last = seen.last().unwrap();
    assert_eq!((last.done, last.total), (1_200_000, 1_200_000), "progress");
    assert!(!path.with_file_name("README.md").exists(), "nothing else");

    // The second time the hashes are compared, and nothing is downloaded.
    server.requests();
    let again = hub::fetch(&hub(&server, &cache), REPOSITORY, &mut |_| {}).unwrap();
    assert_eq!(again, path, "the same file");
    assert_eq!(server.requests().len(), 3, "the list and two hashes");
    // As weights, the cache alone is asked; and so it is offline.
    let mut hub = hub(&server, &cache);
    hub::cached_or_fetched(&hub, REPOSITORY, &mut |_| {}).unwrap();
    hub.offline = true;
    assert_eq!(
        hub::fetch(&hub, REPOSITORY, &mut |_| {}).unwrap(),
        path,
        "offline"
    );
    assert!(server.requests().is_empty(), "no request");
}

#[test]
fn a_cut_connection_goes_on_where_it_ended() {
    let weights: Vec<u8> = (0..100_000u32).flat_map(u32::to_le_bytes).collect();
    let manners = Manners {
        cuts: 1,
        ..Manners::default()
    };
    let server = Server::new(&[("model.safetensors", &weights)], manners);
    let cache = tempfile::tempdir().unwrap();
    let path = hub::fetch(&hub(&server, &cache), REPOSITORY, &mut |_| {}).unwrap();
    assert_eq!(std::fs::read(path).unwrap(), weights, "weights");
    let requests = server.requests();
    let resumed = requests.iter().any(|r| r.ends_with("from 200000"));
    assert!(resumed, "from the half that arrived: {requests:?}");
}

#[test]
fn what_is_not_what_the_server_says_is_never_in_the_cache() {
    let weights: Vec<u8> = (0..1000u32).flat_map(u32::to_le_bytes).collect();
    let manners = Manners {
        lies: true,
        ..Manners::default()
    };
    let server = Server::new(&[("model.safetensors", &weights)], manners);
    let cache = tempfile::tempdir().unwrap();
    let error = refused(hub::fetch(&hub(&server, &cache), REPOSITORY, &mut |_| {}));
    assert!(error.contains("arrived damaged"), "{error}");
    let left = files_in(cache.path());
    let useful = |name: &&String| !name.ends_with(".lock") && *name != "main";
    assert_eq!(left.iter().filter(useful).count(), 0, "{left:?}");
}

#[test]
fn what_cannot_be_had_says_why() {
    let server = Server::new(&[("notes.txt", b"text")], Manners::default());
    let cache = tempfile::tempdir().unwrap();
    let mut hub = hub(&server, &cache);
    let none = refused(hub::fetch(&hub, REPOSITORY, &mut |_| {}));
    assert!(none.contains("model.safetensors"), "{none}");
    let missing = refused(hub::fetch(&hub, "timm/unheard-of", &mut |_| {}));
    assert!(missing.contains("no such repository"), "{missing}");
    let name = refused(hub::fetch(&hub, "../etc", &mut |_| {}));
    assert!(name.contains("OWNER/NAME"), "{name}");

    hub.offline = true;
    server.requests();
    let offline = refused(hub::cached_or_fetched(&hub, REPOSITORY, &mut |_| {}));
    assert!(offline.contains("HF_HUB_OFFLINE"), "{offline}");
    assert!(server.requests().is_empty(), "no request");

    // Nothing listens there any more.
    hub.offline = false;
    let port = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    hub.endpoint = Some(format!("http://{port}"));
    let dead = refused(hub::fetch(&hub, REPOSITORY, &mut |_| {}));
    assert!(dead.contains("request error"), "{dead}");
}

#[test]
fn shards_are_fetched_by_their_index() {
    let index = br#"{"weight_map": {"a": "model-1.safetensors", "b": "model-2.safetensors"}}"#;
    let files = [
        ("model.safetensors.index.json", &index[..]),
        ("model-1.safetensors", b"one"),
        ("model-2.safetensors", b"two"),
    ];
    let server = Server::new(&files, Manners::default());
    let cache = tempfile::tempdir().unwrap();
    let hub = hub(&server, &cache);
    let path = hub::fetch(&hub, REPOSITORY, &mut |_| {}).unwrap();
    let second = path.with_file_name("model-2.safetensors");
    assert_eq!(std::fs::read(&second).unwrap(), b"two", "a shard");
    std::fs::remove_file(&second).unwrap();
    server.requests();
    hub::cached_or_fetched(&hub, REPOSITORY, &mut |_| {}).unwrap();
    assert!(second.exists(), "a cache with a gap is no cache");

    let broken = Server::new(&files[..2], Manners::default());
    let cache = tempfile::tempdir().unwrap();
    let result = hub::fetch(&self::hub(&broken, &cache), REPOSITORY, &mut |_| {});
    let error = refused(result);
    assert!(error.contains("model-2.safetensors"), "{error}");
}

// === The program ===

fn program(server: &Server, cache: &TempDir, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_resnet"))
        .args(arguments)
        .env("HF_ENDPOINT", &server.endpoint)
        .env("HF_HOME", cache.path())
        .env_remove("HF_HUB_CACHE")
        .env_remove("HF_HUB_OFFLINE")
        .env_remove("HF_TOKEN")
        .output()
        .unwrap()
}

#[test]
fn the_program_fetches_weights_and_runs_them() {
    let folder =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../formats/tests/data/families/timm-c");
    let read = |name: &str| std::fs::read(folder.join(name)).unwrap();
    let (config, weights) = (read("config.json"), read("model.safetensors"));
    let files = [
        ("config.json", &config[..]),
        ("model.safetensors", &weights),
    ];
    let server = Server::new(&files, Manners::default());
    let cache = tempfile::tempdir().unwrap();
    let output = program(&server, &cache, &["fetch", REPOSITORY]);
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    assert!(output.status.success(), "{}", text(&output.stderr));
    let path = text(&output.stdout).trim().to_owned();
    assert_eq!(std::fs::read(&path).unwrap(), weights, "{path}");

    let named = format!("hf:{REPOSITORY}");
    let arguments = ["inspect", "--weights", &named, "--strict"];
    let output = program(&server, &cache, &arguments);
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert!(text(&output.stdout).contains("config.json"), "evidence");

    let output = program(&server, &cache, &["inspect", "--weights", "hf:timm/none"]);
    assert_eq!(output.status.code(), Some(3), "{}", text(&output.stderr));
    assert_eq!(text(&output.stderr).lines().count(), 1, "one line");
}

#[test]
fn a_preset_of_keras_comes_with_its_classifier() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../formats/tests/data/keras/preset");
    let read = |name: &str| {
        let mut bytes = Vec::new();
        match std::fs::File::open(folder.join(format!("{name}.gz"))) {
            Ok(packed) => flate2::read::GzDecoder::new(packed).read_to_end(&mut bytes),
            Err(_) => std::fs::File::open(folder.join(name))
                .unwrap()
                .read_to_end(&mut bytes),
        }
        .unwrap();
        bytes
    };
    let names = [
        "config.json",
        "metadata.json",
        "model.weights.h5",
        "preprocessor.json",
        "task.json",
        "task.weights.h5",
    ];
    let files = names.map(|name| (name, read(name)));
    let files = files.each_ref().map(|(name, bytes)| (*name, &bytes[..]));
    let server = Server::new(&files, Manners::default());
    let cache = tempfile::tempdir().unwrap();
    let named = format!("hf:{REPOSITORY}");
    let arguments = ["inspect", "--format", "json", "--weights", &named];
    let output = program(&server, &cache, &arguments);
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{error}");
    let json: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(json["model"]["classes"], 5, "of the classifier");
    let requests = server.requests();
    assert!(
        !requests.iter().any(|r| r.contains("preprocessor.json")),
        "{requests:?}"
    );
}
