//! Tests of `manifests.rs` that need its private parts.

use super::is_of_mesa_22_3;

#[test]
fn only_the_measured_version_is_given_wide_vectors() {
    let manifest = |version: &str| {
        format!(r#"{{"ICD": {{"api_version": "{version}", "library_path": "lvp.so"}}}}"#)
    };
    for (version, wide) in [
        ("1.1.230", true),
        ("1.3.230", true),
        ("1.3.255", false),
        ("1.4.305", false),
        ("1.4.354", false),
        ("230", false),
    ] {
        let is = is_of_mesa_22_3(manifest(version).as_bytes());
        assert_eq!(is, wide, "{version}");
    }
    for broken in ["", "{", r#"{"ICD": {"api_version": 230}}"#] {
        assert!(!is_of_mesa_22_3(broken.as_bytes()), "{broken}");
    }
}
