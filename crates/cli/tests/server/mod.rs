//! A server in this process that behaves like the Hugging Face Hub, as well or as badly as a test
//! wants.

#![allow(unreachable_pub, reason = "a module of each test")]
#![allow(dead_code, reason = "each test uses a part")]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::{BTreeMap, HashMap};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Command, Output};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use resnet_formats::hub::Hub;
use sha1::Sha1;
use sha2::{Digest, Sha256};

pub const REPOSITORY: &str = "timm/tiny";
pub const COMMIT: &str = "c0ffeec0ffeec0ffeec0ffeec0ffeec0ffeec0ff";

pub type Files = BTreeMap<String, Vec<u8>>;

/// A client's request.
#[derive(Clone, Debug, Default)]
pub struct Request {
    pub path: String,
    pub start: usize,
    /// One past the last requested byte, if the client states it.
    pub end: Option<usize>,
    pub authorization: Option<String>,
    /// How often the file has been requested, including now, but not counting one-byte requests.
    pub count: usize,
}

impl Request {
    /// The requested file.
    pub fn file(&self) -> Option<&str> {
        let (_, rest) = self.path.split_once("/resolve/")?;
        Some(rest.split_once('/')?.1)
    }

    /// Whether the request is for the bytes of a file rather than facts about it.
    pub fn is_download(&self) -> bool {
        self.file().is_some() && self.end != Some(1)
    }
}

#[derive(Clone, Debug)]
pub struct Reply {
    pub status: &'static str,
    pub headers: BTreeMap<&'static str, String>,
    pub body: Vec<u8>,
    pub end: End,
}

/// What follows the body of a response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    Close,
    /// Nothing, while the connection stays open.
    Wait,
    /// Not even the response is sent.
    Silence,
    /// The body is sent byte by byte.
    Drip,
    /// Endless zeros.
    Endless,
}

impl Reply {
    pub fn new(status: &'static str, body: &[u8]) -> Self {
        Self {
            status,
            headers: BTreeMap::from([("Content-Length", body.len().to_string())]),
            body: body.to_vec(),
            end: End::Close,
        }
    }

    pub fn with(mut self, header: &'static str, value: impl ToString) -> Self {
        self.headers.insert(header, value.to_string());
        self
    }

    pub fn without(mut self, header: &'static str) -> Self {
        self.headers.remove(header);
        self
    }

    pub fn ending(mut self, end: End) -> Self {
        self.end = end;
        self
    }

    /// Closes the connection after `bytes` bytes of the promised body.
    pub fn cut(mut self, bytes: usize) -> Self {
        self.body.truncate(bytes);
        self
    }

    fn send(&self, stream: &mut TcpStream) -> io::Result<()> {
        if self.end == End::Silence {
            return stream.read(&mut [0]).map(drop);
        }
        let headers = self.headers.iter();
        let headers: String = headers.map(|(k, v)| format!("{k}: {v}\r\n")).collect();
        write!(
            stream,
            "HTTP/1.1 {}\r\n{headers}Connection: close\r\n\r\n",
            self.status
        )?;
        if self.end != End::Drip {
            stream.write_all(&self.body)?;
        }
        match self.end {
            End::Close | End::Silence => {}
            End::Wait => drop(stream.read(&mut [0])),
            End::Drip => {
                stream.set_read_timeout(Some(Duration::from_millis(5)))?;
                for byte in &self.body {
                    stream.write_all(&[*byte])?;
                    // Nothing is received: this is the delay between two bytes.
                    let _ = stream.read(&mut [0]);
                }
            }
            End::Endless => loop {
                stream.write_all(&[0; 1 << 16])?;
            },
        }
        Ok(())
    }
}

fn hex(hash: &[u8]) -> String {
    hash.iter().map(|byte| format!("{byte:02x}")).collect()
}

pub fn sha256(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

/// The `ETag` of a file: a git hash for small files, a SHA-256 for the others.
fn etag(name: &str, bytes: &[u8]) -> String {
    if !name.ends_with(".json") {
        return sha256(bytes);
    }
    let head = format!("blob {}\0", bytes.len());
    hex(&Sha1::digest([head.as_bytes(), bytes].concat()))
}

/// The response of an honest server.
pub fn honest(files: &Files, request: &Request) -> Reply {
    if request.path == format!("/api/models/{REPOSITORY}/revision/main") {
        let names = files.keys();
        let names: Vec<_> = names
            .map(|name| serde_json::json!({"rfilename": name}))
            .collect();
        let body = serde_json::json!({"sha": COMMIT, "siblings": names}).to_string();
        return Reply::new("200 OK", body.as_bytes());
    }
    let here = format!("/{REPOSITORY}/resolve/{COMMIT}/");
    let name = request.path.strip_prefix(&here).unwrap_or_default();
    let Some(file) = files.get(name) else {
        return Reply::new("404 Not Found", b"");
    };
    let end = request.end.map_or(file.len(), |end| end.min(file.len()));
    Reply::new("206 Partial Content", &file[request.start..end])
        .with("ETag", format!("\"{}\"", etag(name, file)))
        .with("X-Repo-Commit", COMMIT)
        .with(
            "Content-Range",
            format!(
                "bytes {}-{}/{}",
                request.start,
                end.saturating_sub(1),
                file.len()
            ),
        )
}

pub struct Server {
    pub endpoint: String,
    requests: Arc<Mutex<Vec<Request>>>,
}

impl Server {
    /// A server that responds as `answer` does.
    pub fn new(answer: impl Fn(&Request) -> Reply + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        let requests = Arc::new(Mutex::new(Vec::new()));
        let (log, answer) = (Arc::clone(&requests), Arc::new(answer));
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let (log, answer) = (Arc::clone(&log), Arc::clone(&answer));
                std::thread::spawn(move || {
                    let mut stream = stream.unwrap();
                    let Some(mut request) = read(&stream) else {
                        return;
                    };
                    {
                        let mut log = log.lock().unwrap();
                        let same = |other: &&Request| {
                            other.path == request.path
                                && other.is_download() == request.is_download()
                        };
                        request.count = log.iter().filter(same).count() + 1;
                        log.push(request.clone());
                    }
                    // It is not the server's concern if the client goes away.
                    let _ = answer(&request).send(&mut stream);
                });
            }
        });
        Self { endpoint, requests }
    }

    /// An honest server with these files.
    pub fn of(files: &[(&str, &[u8])]) -> Self {
        let files = self::files(files);
        Self::new(move |request| honest(&files, request))
    }

    /// The requests since the last call.
    pub fn requests(&self) -> Vec<Request> {
        std::mem::take(&mut self.requests.lock().unwrap())
    }

    pub fn hub(&self, cache: &Path) -> Hub {
        let mut hub = Hub::new(cache);
        hub.endpoint.clone_from(&self.endpoint);
        hub.limits.pause = Duration::ZERO;
        hub
    }

    /// Runs the program in an environment where only this server exists.
    pub fn program(&self, home: &Path, arguments: &[&str], more: &[(&str, &str)]) -> Output {
        let kept = [
            "PATH",
            "LD_LIBRARY_PATH",
            "VK_ICD_FILENAMES",
            "VK_DRIVER_FILES",
        ];
        let kept: HashMap<_, _> = kept
            .iter()
            .filter_map(|name| Some((name, std::env::var_os(name)?)))
            .collect();
        Command::new(env!("CARGO_BIN_EXE_resnet"))
            .args(arguments)
            .env_clear()
            .envs(kept)
            .env("HOME", home)
            .env("HF_ENDPOINT", &self.endpoint)
            .env("HF_HOME", home)
            .envs(more.iter().copied())
            .output()
            .unwrap()
    }
}

pub fn files(files: &[(&str, &[u8])]) -> Files {
    let files = files.iter();
    files
        .map(|(name, bytes)| ((*name).to_owned(), bytes.to_vec()))
        .collect()
}

fn read(stream: &TcpStream) -> Option<Request> {
    let mut lines = BufReader::new(stream).lines();
    let first = lines.next()?.ok()?;
    let mut request = Request {
        path: first.split(' ').nth(1)?.to_owned(),
        ..Request::default()
    };
    for line in lines {
        let line = line.ok()?;
        let Some((name, value)) = line.split_once(": ") else {
            return Some(request);
        };
        match name.to_ascii_lowercase().as_str() {
            "authorization" => request.authorization = Some(value.to_owned()),
            "range" => {
                let (from, to) = value.strip_prefix("bytes=")?.split_once('-')?;
                request.start = from.parse().ok()?;
                request.end = to.parse().ok().map(|last: usize| last + 1);
            }
            _ => {}
        }
    }
    None
}
