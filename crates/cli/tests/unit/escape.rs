//! Tests of `escape.rs` that need access to private items.

use super::*;

#[test]
fn names_of_a_damaged_file_stay_on_one_line() {
    assert_eq!(one_line("layer 'a\n\u{1b}[2J'"), r"layer 'a\n\u{1b}[2J'");
    assert_eq!(one_line("1×1, β ≥ 0"), "1×1, β ≥ 0", "other letters stay");
    let long = one_line(&"ü".repeat(5_000_000));
    assert!(long.len() < 3000 && long.ends_with("bytes more)"), "{long}");
}

#[test]
fn labels_are_cut_and_json_stays_json() {
    assert_eq!(short("cat"), "cat");
    assert!(short(&"é".repeat(1_000_000)).len() < 1000, "cut");
    let json = serde_json::to_string("a\u{9b}2J\u{7f}ü\n").unwrap();
    let shown = without_controls(&json);
    assert_eq!(shown, r#""a\u009b2J\u007fü\n""#);
    let read: String = serde_json::from_str(&shown).unwrap();
    assert_eq!(read, "a\u{9b}2J\u{7f}ü\n", "the same");
}

#[test]
#[cfg(unix)]
fn bytes_that_are_no_text_are_numbers() {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;
    let path = Path::new(OsStr::from_bytes(b"a\xffb/\xc3\xbc"));
    assert_eq!(shown(path), "a\\xffb/ü");
}
