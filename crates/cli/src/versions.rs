//! Which versions of what are at work.

use serde::Serialize;

/// Versions that a measurement depends on.
#[derive(Debug, Serialize)]
pub(crate) struct Versions {
    #[serde(rename = "resnet-wgpu")]
    pub(crate) own: &'static str,
    /// Null where the lock file does not name it.
    pub(crate) wgpu: Option<&'static str>,
}

impl Versions {
    pub(crate) fn new() -> Self {
        Self {
            own: env!("CARGO_PKG_VERSION"),
            wgpu: locked_version(include_str!("../../../Cargo.lock"), "wgpu"),
        }
    }
}

/// The version of a package in a lock file. wgpu does not tell its own.
fn locked_version<'a>(lock: &'a str, package: &str) -> Option<&'a str> {
    let name = format!("name = \"{package}\"");
    let mut lines = lock.lines().skip_while(|line| *line != name);
    let version = lines.nth(1)?.strip_prefix("version = \"")?;
    version.strip_suffix('"')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_of_wgpu_is_known() {
        let version = Versions::new().wgpu.unwrap();
        assert!(version.starts_with("30."), "{version}");
    }

    #[test]
    fn a_locked_version_is_that_of_the_very_package() {
        let lock = "[[package]]\nname = \"wgpu-hal\"\nversion = \"1.0.0\"\n\n[[package]]\n\
                    name = \"wgpu\"\nversion = \"2.0.1\"\n";
        assert_eq!(locked_version(lock, "wgpu"), Some("2.0.1"));
        assert_eq!(locked_version(lock, "naga"), None);
    }
}
