//! What the program reads and leaves behind: names that are not UTF-8, inputs that are not regular
//! files, permissions, links and devices, control characters, and termination by a signal.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
#![cfg(unix)]

use std::ffi::{OsStr, OsString};
use std::fs;
use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

const PICTURE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../assets/torus.png");

fn resnet(folder: &Path, arguments: &[&OsStr]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_resnet"));
    command
        .current_dir(folder)
        .args(arguments)
        .output()
        .unwrap()
}

/// The same with arguments as text; must succeed, and returns stdout.
fn fine(folder: &Path, arguments: &[&str]) -> String {
    let arguments: Vec<&OsStr> = arguments.iter().map(OsStr::new).collect();
    let output = resnet(folder, &arguments);
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{arguments:?}: {error}");
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn patterns_match_names_of_any_bytes_and_show_them_escaped() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    let deep = path.join("deep/er");
    fs::create_dir_all(&deep).unwrap();
    let odd = OsString::from(OsStr::from_bytes(b"a\xff\x1b[2J.png"));
    for name in [
        &odd,
        &"b.png".into(),
        &".hidden.png".into(),
        &"deep/er/c.png".into(),
    ] {
        fs::copy(PICTURE, path.join(name)).unwrap();
    }
    // A cycle of links is not followed forever.
    symlink(path, deep.join("up")).unwrap();
    let cpu = [
        "classify",
        "--backend",
        "cpu",
        "--format",
        "csv",
        "--top",
        "1",
    ];
    let names = |pattern: &str| -> Vec<String> {
        let text = fine(path, &[&cpu[..], &[pattern]].concat());
        assert!(!text.contains('\u{1b}'), "{text:?}");
        let lines = text.lines().skip(1);
        lines
            .map(|line| line.split(',').next().unwrap().to_owned())
            .collect()
    };
    let shown = r"a\xff\u{1b}[2J.png";
    assert_eq!(names("*.png"), [shown, "b.png"]);
    assert_eq!(names("?.png"), ["b.png"]);
    assert_eq!(names("[b-z].png"), ["b.png"]);
    assert_eq!(names(".*.png"), [".hidden.png"]);
    assert_eq!(names("**/*.png"), [shown, "b.png", "deep/er/c.png"]);
    assert_eq!(names("**/er/c*"), ["deep/er/c.png"]);
    let json = fine(
        path,
        &["classify", "--backend", "cpu", "--format", "json", "*.png"],
    );
    assert!(json.contains(r#""image": "a\\xff\u001b[2J.png""#), "{json}");
}

#[test]
fn what_is_no_file_is_refused_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    let fifo = path.join("fifo");
    assert!(
        Command::new("mkfifo")
            .arg(&fifo)
            .status()
            .unwrap()
            .success()
    );
    let fifo = fifo.to_str().unwrap();
    let rules = path.join("rules.json");
    symlink(fifo, &rules).unwrap();
    let rules = rules.to_str().unwrap();
    for odd in [fifo, "/dev/zero", "."] {
        for arguments in [
            &["inspect", "--weights", odd][..],
            &["classify", "--labels", odd, PICTURE],
            &["compare", "--golden", odd],
            &["cam", odd, "-o", "x.png"],
            &["bench", "diff", odd, odd],
            &["inspect", "--preprocess", rules],
        ] {
            let arguments: Vec<&OsStr> = arguments.iter().map(OsStr::new).collect();
            let start = Instant::now();
            let output = resnet(path, &arguments);
            let error = String::from_utf8_lossy(&output.stderr);
            assert!(
                matches!(output.status.code(), Some(1..=3)),
                "{arguments:?}: {error}"
            );
            assert!(
                error.contains("not a file") || error.contains("folder"),
                "{error}"
            );
            assert!(start.elapsed() < Duration::from_secs(20), "{arguments:?}");
        }
    }
}

#[test]
fn outputs_have_the_mode_of_the_umask_and_keep_links_and_modes() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    let mode = |name: &str| fs::metadata(path.join(name)).unwrap().permissions().mode() & 0o777;
    let program = env!("CARGO_BIN_EXE_resnet");
    let line = format!("umask 027 && exec {program} convert -o new.safetensors \"$0\"");
    let weights = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../formats/tests/data/families/timm-c/model.safetensors");
    let weights = weights.to_str().unwrap();
    let mut shell = Command::new("sh");
    let status = shell
        .args(["-c", &line, weights])
        .current_dir(path)
        .status();
    assert!(status.unwrap().success(), "converted");
    assert_eq!(mode("new.safetensors"), 0o640, "by the umask");

    // A link remains a link, and its target keeps its permissions.
    fs::write(path.join("real.safetensors"), "old").unwrap();
    fs::set_permissions(
        path.join("real.safetensors"),
        fs::Permissions::from_mode(0o604),
    )
    .unwrap();
    symlink("real.safetensors", path.join("link.safetensors")).unwrap();
    symlink("made.safetensors", path.join("dangling.safetensors")).unwrap();
    for name in ["link.safetensors", "dangling.safetensors"] {
        fine(path, &["convert", weights, "-o", name]);
        assert!(path.join(name).is_symlink(), "{name}");
    }
    assert_eq!(mode("real.safetensors"), 0o604, "as it was");
    let [real, made] =
        ["real.safetensors", "made.safetensors"].map(|n| fs::read(path.join(n)).unwrap());
    assert_eq!(real, made, "both written");
    fine(path, &["inspect", "--weights", "link.safetensors"]);

    // A device remains a device.
    symlink("/dev/null", path.join("null.safetensors")).unwrap();
    fine(path, &["convert", weights, "-o", "null.safetensors"]);
    let null = fs::metadata("/dev/null").unwrap();
    assert!(!null.is_file(), "still a device");
    assert_eq!(
        fs::read_dir(path).unwrap().count(),
        6,
        "nothing else is left"
    );
}

#[cfg(unix)]
#[test]
fn a_limit_for_the_size_of_files_is_an_error_and_no_signal() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("out.safetensors");
    let program = env!("CARGO_BIN_EXE_resnet");
    let weights = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../formats/tests/data/families/timm-c/model.safetensors");
    let convert = "ulimit -f 1; exec \"$0\" convert \"$1\" -o \"$2\"";
    let output = Command::new("sh")
        .args(["-c", convert, program])
        .args([&weights, &out])
        .output();
    let output = output.unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(
        output.status.code(),
        Some(1),
        "{:?}: {stderr}",
        output.status
    );
    assert!(stderr.contains("error: cannot write"), "{stderr}");
    assert_eq!(
        folder.path().read_dir().unwrap().count(),
        0,
        "nothing is left"
    );
}

#[test]
fn an_output_takes_the_place_of_no_input_and_an_empty_index_of_no_other() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    fs::copy(PICTURE, path.join("a.png")).unwrap();
    symlink("a.png", path.join("b.png")).unwrap();
    fs::write(path.join("w.json"), "weights").unwrap();
    fine(path, &["embed", "--backend", "cpu", "-o", "x.npy", "a.png"]);
    let files = || ["a.png", "w.json", "x.npy"].map(|name| fs::read(path.join(name)).unwrap());
    let before = files();
    for (line, code) in [
        ("embed --backend cpu -o x.npy missing.png", 1),
        ("embed --backend cpu -o x.npy x.npy", 2),
        ("cam --backend cpu a.png -o b.png", 2),
        ("profile -o w.json --weights w.json", 2),
    ] {
        let words: Vec<&OsStr> = line.split(' ').map(OsStr::new).collect();
        let output = resnet(path, &words);
        assert_eq!(output.status.code(), Some(code), "{line}: {output:?}");
        assert!(files() == before, "{line}");
    }
}

#[test]
fn a_name_in_an_index_is_one_line() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    fs::copy(PICTURE, path.join("a\n  1.0000  b.png")).unwrap();
    fine(path, &["embed", "--backend", "cpu", "-o", "x.npy", "."]);
    let search = ["search", "--backend", "cpu", "x.npy", PICTURE];
    let found = fine(path, &search);
    assert_eq!(
        found.lines().count(),
        2,
        "the query and its neighbour: {found}"
    );
}

#[test]
fn a_signal_leaves_no_file_and_no_half_line() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    let program = env!("CARGO_BIN_EXE_resnet");
    // Whoever runs the tests may have had them go on without a terminal.
    let hang_up = ["env", "--default-signal=HUP", program];
    let hang_up = cfg!(target_os = "linux").then_some(("HUP", &hang_up[..]));
    let kinds = [("TERM", &[program][..]), ("INT", &[program])];
    for (signal, start) in kinds.into_iter().chain(hang_up) {
        let embed = |flags: &[&str]| {
            Command::new(start[0])
                .args(&start[1..])
                .args(["embed", "--backend", "cpu"])
                .args(flags)
                .args(vec![PICTURE; 20_000])
                .current_dir(path)
                .stdout(Stdio::piped())
                .spawn()
                .unwrap()
        };
        let send = |child: &Child| {
            let id = child.id().to_string();
            let sent = Command::new("kill").args(["-s", signal, &id]).status();
            assert!(sent.unwrap().success(), "sent");
        };
        let mut child = embed(&["-o", "x.npy"]);
        let files = || -> Vec<PathBuf> {
            let entries = fs::read_dir(path).unwrap();
            entries.map(|entry| entry.unwrap().path()).collect()
        };
        while files().is_empty() {
            assert!(child.try_wait().unwrap().is_none(), "still running");
            std::thread::yield_now();
        }
        send(&child);
        let output = child.wait_with_output().unwrap();
        assert!(output.status.signal().is_some(), "{:?}", output.status);
        assert_eq!(files(), Vec::<PathBuf>::new(), "{signal}");
        assert_eq!(output.stdout, b"", "names of a file that there is not");

        let mut child = embed(&[]);
        let mut stdout = child.stdout.take().unwrap();
        let mut lines = vec![0];
        stdout.read_exact(&mut lines).unwrap();
        send(&child);
        stdout.read_to_end(&mut lines).unwrap();
        let status = child.wait().unwrap();
        assert!(status.signal().is_some(), "{status:?}");
        assert!(lines.ends_with(b"\n"), "{signal}");
    }
}
