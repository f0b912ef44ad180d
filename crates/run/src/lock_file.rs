//! Reads the lock file at build time, because wgpu does not report its own version.

/// The version of a package in a lock file.
pub(crate) fn locked_version<'a>(lock: &'a str, package: &str) -> Option<&'a str> {
    let name = format!("name = \"{package}\"");
    let mut lines = lock.lines().skip_while(|line| *line != name);
    let version = lines.nth(1)?.strip_prefix("version = \"")?;
    version.strip_suffix('"')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_locked_version_is_that_of_the_very_package() {
        let lock = "[[package]]\nname = \"wgpu-hal\"\nversion = \"1.0.0\"\n\n[[package]]\n\
                    name = \"wgpu\"\nversion = \"2.0.1\"\n";
        assert_eq!(locked_version(lock, "wgpu"), Some("2.0.1"));
        assert_eq!(locked_version(lock, "naga"), None);
    }
}
