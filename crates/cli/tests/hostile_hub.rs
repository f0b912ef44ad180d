//! Downloads from malicious servers: nothing outside the cache changes, and the program soon ends
//! with exit code 3 and one sentence.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
#![cfg(unix)]

mod server;

use std::collections::BTreeMap;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use resnet_formats::hub::{self, Hub};
use resnet_wgpu::Error;
use server::{COMMIT, End, Files, REPOSITORY, Reply, Request, Server, honest, sha256};
use tempfile::TempDir;

/// Longer than any of these may take, even on a busy machine.
const SOON: Duration = Duration::from_secs(20);

/// A home folder with a cache, and beside it files that must not change.
struct Home(TempDir);

impl Home {
    fn new() -> Self {
        let home = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(home.path().join("victim")).unwrap();
        std::fs::write(home.path().join("victim/precious.txt"), "precious").unwrap();
        std::fs::create_dir_all(home.path().join("hub")).unwrap();
        Self(home)
    }

    fn cache(&self) -> PathBuf {
        self.0.path().join("hub")
    }

    fn victim(&self) -> String {
        self.0.path().join("victim").display().to_string()
    }

    /// Fails if anything outside the cache has changed, or if a link leads out of the cache.
    fn check(&self, name: &str) {
        let mut outside = tree(self.0.path());
        outside.retain(|path, _| !path.starts_with(self.cache()));
        let victim = self.0.path().join("victim");
        let expected = BTreeMap::from([
            (victim.clone(), None),
            (victim.join("precious.txt"), Some(b"precious".to_vec())),
        ]);
        assert_eq!(outside, expected, "{name}: outside of the cache");
        let cache = self.cache();
        for path in tree(&cache).keys().filter(|path| path.is_symlink()) {
            let real = path.canonicalize().unwrap();
            assert!(
                real.starts_with(cache.canonicalize().unwrap()),
                "{name}: {path:?}"
            );
        }
    }
}

/// Everything in a folder, recursively.
fn tree(folder: &Path) -> BTreeMap<PathBuf, Option<Vec<u8>>> {
    let mut found = BTreeMap::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() && !path.is_symlink() {
            found.extend(tree(&path));
            found.insert(path, None);
        } else {
            let bytes = std::fs::read(&path).ok();
            found.insert(path, bytes);
        }
    }
    found.remove(&folder.join("hub"));
    found
}

/// Limits for tests: short if the server makes the client wait, otherwise so long that a busy
/// machine does not exceed them.
fn hurried(mut hub: Hub, waits: bool) -> Hub {
    let time = Duration::from_millis(if waits { 200 } else { 10_000 });
    hub.limits.head = time;
    hub.limits.stall = time;
    hub
}

fn weights() -> Vec<u8> {
    (0..20_000u32).flat_map(u32::to_le_bytes).collect()
}

fn files() -> Files {
    server::files(&[("model.safetensors", &weights())])
}

/// How a malicious server answers in place of an honest one.
type Mode = Box<dyn Fn(&Request, Reply) -> Reply + Send + Sync>;

/// The name of a mode, a part of the message that it must cause (empty if the weights must arrive
/// regardless), and what it does.
type Case = (&'static str, &'static str, Mode);

fn case(
    name: &'static str,
    end: &'static str,
    mode: impl Fn(&Request, Reply) -> Reply + Send + Sync + 'static,
) -> Case {
    (name, end, Box::new(mode))
}

/// Manipulates the list of files.
fn listing(
    name: &'static str,
    end: &'static str,
    mode: impl Fn(Reply) -> Reply + Send + Sync + 'static,
) -> Case {
    case(name, end, move |request, reply| match request.file() {
        None => mode(reply),
        Some(_) => reply,
    })
}

/// Manipulates the stated facts about a file.
fn stating(
    name: &'static str,
    end: &'static str,
    mode: impl Fn(Reply) -> Reply + Send + Sync + 'static,
) -> Case {
    case(name, end, move |request, reply| {
        if request.file().is_some() && !request.is_download() {
            mode(reply)
        } else {
            reply
        }
    })
}

/// Manipulates the bytes of a file.
fn sending(
    name: &'static str,
    end: &'static str,
    mode: impl Fn(&Request, Reply) -> Reply + Send + Sync + 'static,
) -> Case {
    case(name, end, move |request, reply| {
        if request.is_download() {
            mode(request, reply)
        } else {
            reply
        }
    })
}

fn redirect(to: impl ToString) -> Reply {
    Reply::new("302 Found", b"").with("Location", to)
}

fn json(text: &str) -> Reply {
    Reply::new("200 OK", text.as_bytes())
}

/// Lies about the list of files.
fn lists() -> Vec<Case> {
    vec![
        listing("huge list", "more than the 4194304 bytes", |_| {
            let many = r#"{"rfilename": "a"}, "#.repeat(500_000);
            json(&format!(
                r#"{{"sha": "{COMMIT}", "siblings": [{many}{{"rfilename": "b"}}]}}"#
            ))
        }),
        listing("endless list", "more than the 4194304 bytes", |reply| {
            reply.without("Content-Length").ending(End::Endless)
        }),
        listing("deep list", "not understood", |_| {
            json(&format!(
                r#"{{"sha": "x", "siblings": {}"#,
                "[".repeat(1_000_000)
            ))
        }),
        listing("no list", "not understood", |_| json("<html>")),
        listing("other names", "none of model.safetensors", |_| {
            json(&format!(
                r#"{{"sha": "{COMMIT}", "siblings": [{{"rfilename": "\u001b[2Jevil"}}]}}"#
            ))
        }),
        listing("commit is a path", "no commit", |_| {
            json(
                r#"{"sha": "../../../../victim/commit", "siblings": [{"rfilename": "model.safetensors"}]}"#,
            )
        }),
        listing("unavailable", "status 503", |_| {
            Reply::new("503 Service Unavailable", b"").with("Retry-After", 999_999)
        }),
        listing("too many requests", "status 429", |_| {
            Reply::new("429 Too Many Requests", b"").with("Retry-After", 999_999)
        }),
        listing("secret", "HF_TOKEN", |_| {
            Reply::new("401 Unauthorized", b"")
        }),
        listing("huge head", "header", |reply| {
            reply.with("X-A", "a".repeat(10_000_000))
        }),
        listing("no HTTP", "", |mut reply| {
            reply.status = "this is not a status";
            reply
        }),
        case(
            "list in a circle",
            "more than 10 times",
            |request, reply| {
                if request.file().is_none() {
                    redirect(&request.path)
                } else {
                    reply
                }
            },
        ),
        listing("silent list", "in time", |reply| {
            reply.cut(5).ending(End::Wait)
        }),
        listing("dripping list", "too slow", |reply| reply.ending(End::Drip)),
    ]
}

/// Lies about a file.
fn statements(victim: &str) -> Vec<Case> {
    let absolute = format!("{victim}/precious.txt");
    let above = format!("{victim}/commit");
    vec![
        stating("hash is a path", "no hash", move |reply| {
            reply.with("ETag", &absolute)
        }),
        stating("hash is a relative path", "no hash", |reply| {
            reply.with("ETag", "\"../../../victim/precious.txt\"")
        }),
        stating("hash of a part is a path", "no hash", |reply| {
            reply.with("X-Linked-ETag", "../../../victim/precious.txt")
        }),
        stating("empty hash", "no hash", |reply| reply.with("ETag", "\"\"")),
        stating("no hash", "no hash", |reply| reply.without("ETag")),
        stating("long hash", "no hash", |reply| {
            reply.with("ETag", "a".repeat(4000))
        }),
        stating(
            "commit of a file is a path",
            "another commit",
            move |reply| reply.with("X-Repo-Commit", &above),
        ),
        stating("another commit", "another commit", |reply| {
            reply.with("X-Repo-Commit", "d".repeat(40))
        }),
        stating("no commit", "another commit", |reply| {
            reply.without("X-Repo-Commit")
        }),
        stating("huge size", "at most 17179869184 are accepted", |reply| {
            reply.with("Content-Range", format!("bytes 0-0/{}", 1u64 << 63))
        }),
        stating("size beyond numbers", "no size", |reply| {
            reply.with("Content-Range", "bytes 0-0/99999999999999999999999")
        }),
        stating("no size", "no size", |reply| {
            reply.with("Content-Range", "bytes 0-0/*")
        }),
        stating("no range", "no size", |reply| {
            reply.without("Content-Range")
        }),
        stating("empty file", "damaged", |reply| {
            reply.with("Content-Range", "bytes 0-0/0")
        }),
        stating("shorter file", "another part", |reply| {
            reply.with("Content-Range", "bytes 0-0/1000")
        }),
        stating("longer file", "another part", |reply| {
            reply.with("Content-Range", "bytes 0-0/1000000")
        }),
        stating("no location", "redirects to 'nothing'", |reply| Reply {
            status: "302 Found",
            ..reply
        }),
        stating("bad location", "redirects to '*'", |_| redirect("*")),
        stating("empty location", "redirects to", |_| redirect("")),
        stating("location is a file", "file:///etc/passwd", |_| {
            redirect("file:///etc/passwd")
        }),
        stating("silent about a file", "in time", |reply| {
            reply.ending(End::Silence)
        }),
    ]
}

/// Sends something other than was stated.
fn bodies() -> Vec<Case> {
    vec![
        sending("other bytes", "damaged", |_, mut reply| {
            reply.body.reverse();
            reply
        }),
        sending("endless", "more than the 80000 bytes", |_, reply| {
            reply.without("Content-Length").ending(End::Endless)
        }),
        sending(
            "less than it says",
            "the connection failed",
            |request, reply| reply.cut(20_000usize.saturating_sub(request.start)),
        ),
        sending("a short part that is whole", "another part", |_, reply| {
            let range = "bytes 0-999/1000";
            reply
                .cut(1000)
                .with("Content-Length", 1000)
                .with("Content-Range", range)
        }),
        sending("another part", "another part", |_, reply| {
            reply.with("Content-Range", "bytes 7-79999/80000")
        }),
        sending("no part", "status 416", |_, _| {
            Reply::new("416 Range Not Satisfiable", b"")
        }),
        sending(
            "one byte a connection",
            "the connection failed",
            |_, reply| reply.cut(1),
        ),
        sending("stalls", "in time", |_, reply| {
            reply.cut(20_000).ending(End::Wait)
        }),
        sending("drips", "too slow", |_, reply| reply.ending(End::Drip)),
        sending("changes half way", "damaged", |request, mut reply| {
            if request.count > 1 {
                reply.body.reverse();
            }
            reply.cut(if request.count > 1 {
                usize::MAX
            } else {
                20_000
            })
        }),
        case("in a circle", "more than 10 times", |request, reply| {
            if request.is_download() {
                redirect(&request.path)
            } else {
                reply
            }
        }),
        // None of these is harmful.
        sending("says that it is packed", "", |_, reply| {
            reply.with("Content-Encoding", "gzip")
        }),
        sending("cut once", "", |request, reply| {
            reply.cut(if request.count == 1 {
                20_000
            } else {
                usize::MAX
            })
        }),
        sending("knows no parts", "", |_, reply| {
            let whole = Reply::new("200 OK", &weights());
            Reply {
                headers: reply.headers,
                ..whole
            }
            .without("Content-Range")
        }),
        stating("sent from elsewhere", "", |reply| {
            Reply {
                status: "302 Found",
                ..reply
            }
            .with("Location", "http://127.0.0.1:1/")
            .with("X-Linked-ETag", sha256(&weights()))
            .with("X-Linked-Size", 80_000)
        }),
    ]
}

fn outcome(result: Result<PathBuf, Error>) -> String {
    match result {
        Ok(path) => {
            assert_eq!(
                std::fs::read(path).unwrap(),
                weights(),
                "the weights themselves"
            );
            String::new()
        }
        Err(error @ Error::Fetch { .. }) => error.to_string(),
        Err(other) => panic!("{other:?}"),
    }
}

fn check(cases: Vec<Case>) {
    for (name, end, mode) in cases {
        let home = Home::new();
        let server = Server::new(move |request| mode(request, honest(&files(), request)));
        let start = Instant::now();
        let hub = hurried(
            server.hub(&home.cache()),
            ["in time", "too slow"].contains(&end),
        );
        let outcome = outcome(hub::fetch(&hub, REPOSITORY, &mut |_| {}));
        assert!(start.elapsed() < SOON, "{name}: {:?}", start.elapsed());
        assert_eq!(
            end.is_empty() && name != "no HTTP",
            outcome.is_empty(),
            "{name}: {outcome}"
        );
        assert!(outcome.contains(end), "{name}: {outcome}");
        assert!(!outcome.contains('\u{1b}'), "{name}: {outcome:?}");
        home.check(name);
        if !outcome.is_empty() {
            let mut hub = hub;
            hub.offline = true;
            let held = hub::fetch(&hub, REPOSITORY, &mut |_| {});
            assert!(held.is_err(), "{name}: in the cache all the same");
        }
    }
}

#[test]
fn a_hostile_list_harms_nobody() {
    check(lists());
}

#[test]
fn hostile_statements_harm_nobody() {
    let home = Home::new();
    check(statements(&home.victim()));
    home.check("statements");
}

#[test]
fn hostile_bytes_harm_nobody() {
    check(bodies());
}

#[test]
fn shards_lie_beside_their_index() {
    let home = Home::new();
    let absolute = format!("{}/precious.txt", home.victim());
    for name in [
        &absolute,
        "../../../../victim/owned.txt",
        "..",
        "a\u{1b}[2J",
        "C:x",
        "a\\b",
        "",
    ] {
        let index = serde_json::json!({"weight_map": {"a": name}}).to_string();
        let files = server::files(&[
            ("model.safetensors.index.json", index.as_bytes()),
            (name, b"#!/bin/sh\necho owned\n"),
        ]);
        let server = Server::new(move |request| honest(&files, request));
        let hub = server.hub(&home.cache());
        let outcome = outcome(hub::fetch(&hub, REPOSITORY, &mut |_| {}));
        assert!(
            outcome.contains("only files beside the index"),
            "{name}: {outcome}"
        );
        home.check(name);
    }
}

#[test]
fn links_in_the_cache_that_lead_out_are_not_followed() {
    let place = "hub/models--timm--tiny";
    let blob = format!("{place}/blobs/{}", sha256(&weights()));
    for (link, refused) in [
        (place.to_owned(), true),
        (format!("{place}/blobs"), true),
        (format!("{place}/snapshots"), true),
        (format!("{place}/snapshots/{COMMIT}"), true),
        (format!("{place}/refs"), true),
        ("hub/.locks".to_owned(), true),
        (format!("{blob}.incomplete"), false),
        (blob, false),
        (format!("{place}/refs/main"), false),
        (
            format!("{place}/snapshots/{COMMIT}/model.safetensors"),
            false,
        ),
    ] {
        let home = Home::new();
        let at = home.0.path().join(&link);
        std::fs::create_dir_all(at.parent().unwrap()).unwrap();
        let target = if refused {
            "victim"
        } else {
            "victim/precious.txt"
        };
        symlink(home.0.path().join(target), &at).unwrap();
        let server = Server::new(|request| honest(&files(), request));
        let outcome = outcome(hub::fetch(
            &server.hub(&home.cache()),
            REPOSITORY,
            &mut |_| {},
        ));
        assert_eq!(
            outcome.contains("not a folder within the cache"),
            refused,
            "{link}: {outcome}"
        );
        if refused {
            std::fs::remove_file(at).unwrap();
        }
        home.check(&link);
    }
}

#[test]
fn a_server_that_is_redirected_to_gets_no_token() {
    let other = Server::new(|request| honest(&files(), request));
    let to = other.endpoint.clone();
    let server = Server::new(move |request| {
        if request.is_download() {
            redirect(format!("{to}{}", request.path))
        } else {
            honest(&files(), request)
        }
    });
    let home = Home::new();
    let mut hub = server.hub(&home.cache());
    hub.token = Some("hf_secret".to_owned());
    assert_eq!(
        outcome(hub::fetch(&hub, REPOSITORY, &mut |_| {})),
        "",
        "from elsewhere"
    );
    let asked = other.requests();
    assert_eq!(asked.len(), 1, "{asked:?}");
    assert_eq!(asked[0].authorization, None, "elsewhere");
}

#[test]
fn the_program_ends_with_exit_code_3_and_one_line() {
    let home = Home::new();
    // For servers that merely make clients wait, the default limits are minutes.
    let patient = [
        "silent list",
        "dripping list",
        "silent about a file",
        "stalls",
        "drips",
        "one byte a connection",
    ];
    let cases = lists()
        .into_iter()
        .chain(statements(&home.victim()))
        .chain(bodies());
    for (name, end, mode) in cases.filter(|(name, ..)| !patient.contains(name)) {
        let home = Home::new();
        let server = Server::new(move |request| mode(request, honest(&files(), request)));
        let output = server.program(home.0.path(), &["fetch", REPOSITORY], &[]);
        let text = String::from_utf8(output.stderr).unwrap();
        let fine = end.is_empty() && name != "no HTTP";
        assert_eq!(
            output.status.code(),
            Some(if fine { 0 } else { 3 }),
            "{name}: {text}"
        );
        assert_eq!(text.lines().count(), usize::from(!fine), "{name}: {text}");
        home.check(name);
    }
}
