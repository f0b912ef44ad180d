//! Downloads from a server in this process that behaves like the Hugging Face Hub.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod server;

use std::io::Read;
use std::net::TcpListener;
use std::path::{Path, PathBuf};

use resnet_formats::hub::{self, Progress};
use resnet_wgpu::Error;
use server::{COMMIT, REPOSITORY, Server, files, honest, sha256};

fn refused(result: Result<PathBuf, Error>) -> String {
    match result {
        Err(error @ Error::Fetch { .. }) => error.to_string(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn weights_and_what_describes_them_arrive_whole_and_once() {
    let weights: Vec<u8> = (0..300_000u32).flat_map(u32::to_le_bytes).collect();
    let files = [
        ("README.md", &b"text"[..]),
        ("config.json", b"{}"),
        ("model.safetensors", &weights),
    ];
    let server = Server::of(&files);
    let cache = tempfile::tempdir().unwrap();
    let mut seen = Vec::new();
    let mut watch = |progress: &Progress| seen.push(progress.clone());
    let path = hub::fetch(&server.hub(cache.path()), REPOSITORY, &mut watch).unwrap();
    assert_eq!(std::fs::read(&path).unwrap(), weights, "weights");
    let config = path.with_file_name("config.json");
    assert_eq!(std::fs::read(config).unwrap(), b"{}", "config");
    let last = seen.last().unwrap();
    assert_eq!((last.done, last.total), (1_200_000, 1_200_000), "progress");
    assert!(!path.with_file_name("README.md").exists(), "nothing else");

    // The second time, the hashes are compared and nothing is downloaded.
    server.requests();
    let again = hub::fetch(&server.hub(cache.path()), REPOSITORY, &mut |_| {}).unwrap();
    assert_eq!(again, path, "the same file");
    assert_eq!(server.requests().len(), 3, "the list and two hashes");
    // When used as weights, only the cache is consulted, so this works offline.
    let mut hub = server.hub(cache.path());
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
    let held = files(&[("model.safetensors", &weights)]);
    let server = Server::new(move |request| {
        let reply = honest(&held, request);
        match request.count {
            1 if request.is_download() => reply.cut(200_000),
            _ => reply,
        }
    });
    let cache = tempfile::tempdir().unwrap();
    let path = hub::fetch(&server.hub(cache.path()), REPOSITORY, &mut |_| {}).unwrap();
    assert_eq!(std::fs::read(path).unwrap(), weights, "weights");
    let requests = server.requests();
    let resumed = requests.iter().any(|r| r.start == 200_000);
    assert!(resumed, "from the half that arrived: {requests:?}");
}

#[test]
fn what_an_earlier_process_began_is_finished() {
    let weights: Vec<u8> = (0..1000u32).flat_map(u32::to_le_bytes).collect();
    let cache = tempfile::tempdir().unwrap();
    let held = files(&[("model.safetensors", &weights)]);
    let broken = Server::new(move |request| match request.is_download() {
        true => honest(&held, request).cut(100),
        false => honest(&held, request),
    });
    let error = refused(hub::fetch(
        &broken.hub(cache.path()),
        REPOSITORY,
        &mut |_| {},
    ));
    assert!(error.contains("the connection failed"), "{error}");
    let server = Server::of(&[("model.safetensors", &weights)]);
    let path = hub::fetch(&server.hub(cache.path()), REPOSITORY, &mut |_| {}).unwrap();
    assert_eq!(std::fs::read(path).unwrap(), weights, "weights");
    let from: Vec<_> = server.requests().iter().map(|r| r.start).collect();
    assert_eq!(from, [0, 0, 500], "the list, the hash, the rest");
}

#[test]
fn of_several_processes_one_downloads() {
    let weights: Vec<u8> = (0..50_000u32).flat_map(u32::to_le_bytes).collect();
    let server = Server::of(&[("config.json", b"{}"), ("model.safetensors", &weights)]);
    let cache = tempfile::tempdir().unwrap();
    let hub = server.hub(cache.path());
    std::thread::scope(|scope| {
        let fetch = || hub::fetch(&hub, REPOSITORY, &mut |_| {}).unwrap();
        let threads: Vec<_> = (0..8).map(|_| scope.spawn(fetch)).collect();
        for thread in threads {
            let path = thread.join().unwrap();
            assert_eq!(std::fs::read(path).unwrap(), weights, "weights");
        }
    });
    let downloads = server.requests().iter().filter(|r| r.is_download()).count();
    assert_eq!(downloads, 2, "each file once");
}

#[test]
#[cfg(unix)]
fn the_cache_is_laid_out_as_other_tools_do() {
    let server = Server::of(&[("model.safetensors", b"weights")]);
    let cache = tempfile::tempdir().unwrap();
    let path = hub::fetch(&server.hub(cache.path()), REPOSITORY, &mut |_| {}).unwrap();
    let here = cache.path().join("models--timm--tiny");
    assert_eq!(
        path,
        here.join("snapshots")
            .join(COMMIT)
            .join("model.safetensors")
    );
    let blob = Path::new("../../blobs").join(sha256(b"weights"));
    assert_eq!(std::fs::read_link(&path).unwrap(), blob, "a relative link");
    assert_eq!(
        std::fs::read_to_string(here.join("refs/main")).unwrap(),
        COMMIT
    );
    // If the revision is a commit, no ref is needed to find it.
    std::fs::remove_dir_all(here.join("refs")).unwrap();
    let named = format!("{REPOSITORY}@{COMMIT}");
    let mut hub = server.hub(cache.path());
    hub.offline = true;
    assert_eq!(hub::fetch(&hub, &named, &mut |_| {}).unwrap(), path);
}

#[test]
fn what_cannot_be_had_says_why() {
    let server = Server::of(&[("notes.txt", b"text")]);
    let cache = tempfile::tempdir().unwrap();
    let mut hub = server.hub(cache.path());
    let none = refused(hub::fetch(&hub, REPOSITORY, &mut |_| {}));
    assert!(none.contains("model.safetensors"), "{none}");
    let missing = refused(hub::fetch(&hub, "timm/unheard-of", &mut |_| {}));
    assert!(missing.contains("no such repository"), "{missing}");
    for name in [
        "",
        "resnet50",
        "a/b/c",
        "a/..",
        "../b",
        "a/b@",
        "a/b@../x",
        "a b/c",
        "a/b?x=1",
        "/b",
        "a--b/c",
        "a/.b",
        "a/b\u{1b}",
        "a/b\\c",
    ] {
        let error = refused(hub::fetch(&hub, name, &mut |_| {}));
        assert!(error.contains("OWNER/NAME"), "{error}");
    }

    hub.offline = true;
    server.requests();
    let offline = refused(hub::cached_or_fetched(&hub, REPOSITORY, &mut |_| {}));
    assert!(offline.contains("HF_HUB_OFFLINE"), "{offline}");
    assert!(server.requests().is_empty(), "no request");

    // The server is gone.
    hub.offline = false;
    let port = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    hub.endpoint = format!("http://{port}");
    let dead = refused(hub::fetch(&hub, REPOSITORY, &mut |_| {}));
    assert!(dead.contains("refused"), "{dead}");
}

#[test]
fn shards_are_fetched_by_their_index() {
    let index = br#"{"weight_map": {"a": "model-1.safetensors", "b": "model-2.safetensors"}}"#;
    let files = [
        ("model.safetensors.index.json", &index[..]),
        ("model-1.safetensors", b"one"),
        ("model-2.safetensors", b"two"),
    ];
    let server = Server::of(&files);
    let cache = tempfile::tempdir().unwrap();
    let hub = server.hub(cache.path());
    let path = hub::fetch(&hub, REPOSITORY, &mut |_| {}).unwrap();
    let second = path.with_file_name("model-2.safetensors");
    assert_eq!(std::fs::read(&second).unwrap(), b"two", "a shard");
    std::fs::remove_file(&second).unwrap();
    server.requests();
    hub::cached_or_fetched(&hub, REPOSITORY, &mut |_| {}).unwrap();
    assert!(second.exists(), "a cache with a gap is no cache");

    let broken = Server::of(&files[..2]);
    let cache = tempfile::tempdir().unwrap();
    let result = hub::fetch(&broken.hub(cache.path()), REPOSITORY, &mut |_| {});
    let error = refused(result);
    assert!(error.contains("model-2.safetensors"), "{error}");
}

// === The program ===

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
    let server = Server::of(&files);
    let cache = tempfile::tempdir().unwrap();
    let output = server.program(cache.path(), &["fetch", REPOSITORY], &[]);
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    assert!(output.status.success(), "{}", text(&output.stderr));
    let path = text(&output.stdout).trim().to_owned();
    assert_eq!(std::fs::read(&path).unwrap(), weights, "{path}");

    let named = format!("hf:{REPOSITORY}");
    let arguments = ["inspect", "--weights", &named, "--strict"];
    let output = server.program(cache.path(), &arguments, &[]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert!(text(&output.stdout).contains("config.json"), "evidence");

    let output = server.program(cache.path(), &["inspect", "--weights", "hf:timm/none"], &[]);
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
    let server = Server::of(&files);
    let cache = tempfile::tempdir().unwrap();
    let named = format!("hf:{REPOSITORY}");
    let arguments = ["inspect", "--format", "json", "--weights", &named];
    let output = server.program(cache.path(), &arguments, &[]);
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{error}");
    let json: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(json["model"]["classes"], 5, "of the classifier");
    let requests = server.requests();
    assert!(
        !requests
            .iter()
            .any(|r| r.path.contains("preprocessor.json")),
        "{requests:?}"
    );
}

#[test]
fn the_environment_is_read_as_the_official_client_reads_it() {
    let server = Server::of(&[("model.safetensors", b"weights")]);
    let home = tempfile::tempdir().unwrap();
    let folder = |name: &str| home.path().join(name).display().to_string();
    let [home_of_hub, cache, legacy, caches] = ["h", "c", "l", "x"].map(folder);
    let put = |more: &[(&str, &str)]| {
        let output = server.program(home.path(), &["fetch", REPOSITORY], more);
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
        String::from_utf8(output.stdout).unwrap()
    };
    let set = [
        ("XDG_CACHE_HOME", &*caches),
        ("HF_HOME", &home_of_hub),
        ("HUGGINGFACE_HUB_CACHE", &legacy),
        ("HF_HUB_CACHE", &cache),
    ];
    assert!(
        put(&set).starts_with(&format!("{cache}/models--")),
        "HF_HUB_CACHE"
    );
    assert!(
        put(&set[..3]).starts_with(&format!("{legacy}/models--")),
        "as it was called"
    );
    assert!(
        put(&set[..2]).starts_with(&format!("{home_of_hub}/hub/models--")),
        "HF_HOME"
    );
    let without = [set[0], ("HF_HOME", "")];
    assert!(
        put(&without).starts_with(&format!("{caches}/huggingface/hub/")),
        "XDG"
    );
    let bare = put(&[("HF_HOME", "")]);
    let usual = home.path().join(".cache/huggingface/hub");
    assert!(bare.starts_with(&usual.display().to_string()), "{bare}");
    assert!(put(&[("HF_HOME", "~/tilde")]).contains("/tilde/hub/"), "~");
    server.requests();

    put(&[("HF_HOME", ""), ("HF_HUB_OFFLINE", "YES")]);
    assert!(server.requests().is_empty(), "offline");
    // A token is never sent to a server without https.
    std::fs::write(home.path().join("token"), "hf_file\n").unwrap();
    for more in [&[][..], &[("HF_TOKEN", "hf_secret")]] {
        let output = server.program(home.path(), &["fetch", REPOSITORY], more);
        let note = String::from_utf8_lossy(&output.stderr);
        assert!(
            note.contains("https only") && !note.contains("hf_"),
            "{note}"
        );
        assert!(
            server.requests().iter().all(|r| r.authorization.is_none()),
            "secret"
        );
    }
    let quiet = [
        ("HF_TOKEN", "hf_secret"),
        ("HF_HUB_DISABLE_IMPLICIT_TOKEN", "1"),
    ];
    let output = server.program(home.path(), &["fetch", REPOSITORY], &quiet);
    assert!(output.stderr.is_empty(), "no token, no note");
}
