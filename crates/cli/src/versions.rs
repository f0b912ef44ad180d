//! The versions of the software in use.

use resnet_run::WGPU_VERSION;
use serde::Serialize;

/// The versions that a measurement depends on.
#[derive(Debug, Serialize)]
pub(crate) struct Versions {
    #[serde(rename = "resnet-wgpu")]
    pub(crate) own: &'static str,
    /// Null if the lock file does not contain it.
    pub(crate) wgpu: Option<&'static str>,
}

impl Versions {
    pub(crate) fn new() -> Self {
        Self {
            own: env!("CARGO_PKG_VERSION"),
            wgpu: Some(WGPU_VERSION).filter(|version| !version.is_empty()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_of_wgpu_is_known() {
        let version = Versions::new().wgpu.unwrap();
        assert!(version.starts_with("30."), "{version}");
    }
}
